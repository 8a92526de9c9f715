// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"

#include <memory>
#include <string>
#include <vector>

namespace grainmill {

// The files of one disk that is being made, which get their names together.
// Threads: one call at a time.
class OutputFiles {
 public:
  explicit OutputFiles(FileSystem& files) : files_(files) {}

  // Begins a new file. The one to open later (the descriptor, or the only file) comes last.
  [[nodiscard]] Result<File*> add(const std::string& path);

  // A file that is there already, and is written in place: it has its name.
  File* add_in_place(std::unique_ptr<File> file);

  // Keeps a file open until this object goes: nobody begins to write what is about to be replaced.
  void hold(std::unique_ptr<File> file) { held_.push_back(std::move(file)); }

  // Their names, in the order in which they were added.
  [[nodiscard]] std::vector<std::string> paths() const;

  // Returns when everything that was written has reached the device.
  [[nodiscard]] Status sync();

  // Gives them their names, the last one last; in between, nothing that was there before speaks for
  // them. On failure the names are taken away again, and the error says what could not be.
  [[nodiscard]] Status publish(Durability durability);

  // Takes the names away again, as far as possible.
  void withdraw();

 private:
  struct Output {
    std::string path;
    std::unique_ptr<PendingFile> pending;  // null: written in place
    std::unique_ptr<File> in_place;
    bool replaces = false;  // an older file of this name
  };

  [[nodiscard]] Status publish_one(std::size_t index, Durability durability);
  [[nodiscard]] std::unexpected<Error> take_back(std::size_t failed, Error error);

  FileSystem& files_;
  std::vector<Output> outputs_;
  std::vector<std::unique_ptr<File>> held_;
};

}  // namespace grainmill
