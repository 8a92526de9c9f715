// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"
#include "engine/format/qcow2/tables.h"

#include <atomic>
#include <memory>
#include <span>
#include <vector>

namespace grainmill::qcow2 {

// One qcow2 image: the active state, whatever internal snapshots it has.
class QcowLink final : public Link {
 public:
  // `tables` are those of `file`.
  QcowLink(std::unique_ptr<File> file, MappingTables tables, const OpenOptions& options);

  [[nodiscard]] std::uint64_t size_bytes() const override { return header().size_bytes; }
  [[nodiscard]] std::uint64_t grain_bytes() const override { return header().cluster_bytes(); }
  [[nodiscard]] Status map(std::uint64_t offset, std::uint64_t length,
                           ExtentList& out) const override;
  [[nodiscard]] Status inflate(const Extent& extent, std::span<const std::byte> stored,
                               Inflater& inflater, std::span<std::byte> out) const override;
  [[nodiscard]] const LinkDescription& description() const override { return description_; }
  [[nodiscard]] std::vector<const File*> files() const override { return {file_.get()}; }
  [[nodiscard]] Status examine(Findings& findings) const override;
  [[nodiscard]] bool may_deflate() const override { return may_deflate_; }

 private:
  [[nodiscard]] const Header& header() const { return tables_.header(); }
  [[nodiscard]] Extent describe(std::uint64_t cluster, const Mapping& mapping) const;
  // The part of map() that lies behind one L2 table.
  [[nodiscard]] Status map_table(std::uint64_t begin, std::uint64_t end, std::uint64_t file_bytes,
                                 ExtentList& out) const;

  std::unique_ptr<File> file_;
  MappingTables tables_;
  TableChoice choice_;
  LinkDescription description_;
  mutable std::atomic<bool> may_deflate_ = true;
};

}  // namespace grainmill::qcow2
