// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace grainmill {

// Up to where an output holds what it should, and what proves it.
struct Checkpoint {
  std::uint64_t guest_end = 0;
  std::vector<std::byte> digests;  // of the digest grains since the last one, as of RunEncoder
  std::vector<std::byte> state;    // of the sink, as of Sink::save()
};

// What a conversion that may be broken off writes down beside its output: what it converts, and its
// checkpoints (docs/resume-journal.md). Of a journal that is torn, or damaged, the records count
// that are whole and follow each other from the first one on. Threads: one at a time.
class ResumeJournal {
 public:
  // Opens the journal at `path` for this program alone, or makes an empty one. Refuses a file that
  // is none.
  [[nodiscard]] static Result<ResumeJournal> open(FileSystem& files, const std::string& path,
                                                  Durability durability);

  // Whether it says what is converted; else it is empty, or of another version.
  [[nodiscard]] bool has_identity() const { return has_identity_; }
  [[nodiscard]] std::span<const std::string> identity() const { return identity_; }

  // In guest order; the end of each lies behind that of the one before it.
  [[nodiscard]] std::size_t checkpoints() const { return places_.size(); }
  [[nodiscard]] std::uint64_t guest_end(std::size_t index) const {
    return places_[index].guest_end;
  }
  [[nodiscard]] Result<Checkpoint> read(std::size_t index) const;

  // Forgets all there is. `synced`: on the device when this returns.
  [[nodiscard]] Status begin(std::vector<std::string> identity, Durability durability);
  // REQUIRES: has_identity(); guest_end lies behind that of the last one.
  [[nodiscard]] Status append(const Checkpoint& checkpoint, Durability durability);

 private:
  // A whole record in the file.
  struct Place {
    std::uint64_t guest_end = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  // of what it holds
  };

  explicit ResumeJournal(std::unique_ptr<PendingFile> pending) : pending_(std::move(pending)) {}

  [[nodiscard]] File& file() const { return pending_->file(); }
  [[nodiscard]] Status load();
  // Empty where there is no whole record that belongs here.
  [[nodiscard]] Result<std::vector<std::byte>> next_record(std::uint64_t file_bytes);
  [[nodiscard]] bool take_identity(std::span<const std::byte> record);
  [[nodiscard]] bool take_checkpoint(std::span<const std::byte> record);
  [[nodiscard]] Status put(std::span<const std::byte> record, Durability durability);

  std::unique_ptr<PendingFile> pending_;
  bool has_identity_ = false;
  std::vector<std::string> identity_;
  std::vector<Place> places_;
  std::uint64_t end_ = 0;  // of the last whole record
  std::vector<std::byte> last_digest_;
};

}  // namespace grainmill
