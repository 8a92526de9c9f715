// SPDX-License-Identifier: Apache-2.0
//
// Who sees which damage: does every kind of damage that has a name to healthy images of the main
// forms, has qemu-img and our program check and convert them, and prints what came of it as a
// Markdown table. With -v, also each image that was converted to wrong bytes without an error.
#include "tests/damage/damage.h"
#include "tests/damage/image_forms.h"
#include "tests/damage/victim.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/qemu_img.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::array kForms = {"sparse_wide", "stream_footer_wide", "stream_front_wide", "split",
                               "flat",        "chain_sparse"};
constexpr std::size_t kPlacesTried = 3;  // of each kind and form
constexpr auto kPatience = std::chrono::seconds(10);

// The rows of the table, by what the names of kinds begin with; the first that fits counts.
constexpr std::pair<std::string_view, std::string_view> kFamilies[] = {
    {"header-", "header"},
    {"footer-", "footer of a stream"},
    {"gte-", "grain table entry"},
    {"table-", "grain table"},
    {"gde-", "grain directory"},
    {"directory-", "grain directory"},
    {"marker-", "marker of a stream"},
    {"end-of-stream-", "marker of a stream"},
    {"block-of-", "file (cut, grown, overwritten)"},
    {"block-", "compressed grain"},
    {"deflate-", "compressed grain"},
    {"adler-", "compressed grain"},
    {"payload-", "plain grain or flat data"},
    {"file-missing", "wrong file, or none"},
    {"file-is-folder", "wrong file, or none"},
    {"extent-file", "wrong file, or none"},
    {"parent-of-", "wrong parent"},
    {"parent-is-", "wrong parent"},
    {"file-", "file (cut, grown, overwritten)"},
    {"text-mode-", "file (cut, grown, overwritten)"},
    {"", "descriptor"},
};

std::string_view family_of(std::string_view kind) {
  return std::ranges::find_if(kFamilies, [&](const auto& f) { return kind.starts_with(f.first); })
      ->second;
}

enum class Conversion { right, failed, wrong };  // wrong: bytes, with an exit status of 0

struct Score {
  bool seen_by_qemu = false;
  bool seen_by_us = false;
  bool seen_by_verify = false;
  Conversion by_qemu = Conversion::failed;
  Conversion by_us = Conversion::failed;
};

class Judge {
 public:
  explicit Judge(const Victim& victim) : victim_(victim), image_(victim.disk().path().string()) {}

  Score judge() {
    Score score;
    score.seen_by_qemu = qemu_sees();
    score.by_qemu = convert({"qemu-img", "convert", "-f", "vmdk", "-O", "raw"});
    score.seen_by_us = our_check_sees();
    score.by_us = convert({program_path().string(), "convert", "-q", "--no-manifest", "--no-sync",
                           "-f", "vmdk", "-O", "raw"});
    score.seen_by_verify = !run({program_path().string(), "verify", "-q", "-f", "vmdk",
                                 "--manifest", victim_.manifest().string(), image_})
                                .ok();
    return score;
  }

 private:
  static CommandResult run(const std::vector<std::string>& argv) {
    CommandOptions options;
    options.timeout = kPatience;
    return run_command(argv, options);
  }

  // Crashes and hangs count: who waits for them knows that something is wrong.
  [[nodiscard]] bool qemu_sees() const {
    constexpr int kNotForThisKind = 63;
    const CommandResult result = run({"qemu-img", "check", "-f", "vmdk", image_});
    return !result.ok() && result.exit_status != kNotForThisKind;
  }

  [[nodiscard]] bool our_check_sees() const {
    const CommandResult result =
        run({program_path().string(), "check", "--output", "json", "-f", "vmdk", image_});
    if (!result.ok()) return true;
    return nlohmann::json::parse(result.out).at("suspicious") != 0;
  }

  Conversion convert(std::vector<std::string> argv) {
    const fs::path output = dir_ / "output.raw";
    argv.insert(argv.end(), {image_, output.string()});
    Conversion conversion = Conversion::failed;
    if (run(argv).ok()) conversion = is_right(output) ? Conversion::right : Conversion::wrong;
    fs::remove(output);
    return conversion;
  }

  [[nodiscard]] bool is_right(const fs::path& output) const {
    return fs::file_size(output) == victim_.contents().size() &&
           same_bytes(file_bytes(output), victim_.contents());
  }

  const Victim& victim_;
  std::string image_;
  TempDir dir_;
};

struct Row {
  std::set<std::string> kinds;
  int images = 0;
  int seen_by_qemu = 0;
  int seen_by_us = 0;
  int seen_by_verify = 0;
  std::array<int, 3> by_qemu{};  // by Conversion
  std::array<int, 3> by_us{};

  void add(const std::string& kind, const Score& score) {
    kinds.insert(kind);
    ++images;
    seen_by_qemu += score.seen_by_qemu ? 1 : 0;
    seen_by_us += score.seen_by_us ? 1 : 0;
    seen_by_verify += score.seen_by_verify ? 1 : 0;
    ++by_qemu[static_cast<std::size_t>(score.by_qemu)];
    ++by_us[static_cast<std::size_t>(score.by_us)];
  }
};

// One task: a kind of damage at one place of one form.
struct Task {
  const DamageKind* kind = nullptr;
  std::size_t form = 0;
  std::size_t place = 0;
};

class Scoreboard {
 public:
  explicit Scoreboard(bool verbose) : verbose_(verbose) {
    for (const char* name : kForms) {
      const auto form = std::ranges::find(image_forms(), name, &ImageForm::name);
      if (form == image_forms().end()) throw std::runtime_error(fmt::format("no form {}", name));
      forms_.push_back(&*form);
    }
    list_tasks();
  }

  void run() {
    std::vector<std::thread> threads;
    const unsigned count = std::max(1U, std::thread::hardware_concurrency());
    threads.reserve(count);
    for (unsigned i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    if (failure_) std::rethrow_exception(failure_);
  }

  void print() const {
    fmt::print(
        "| damage to | kinds | images | `qemu-img check` sees | `grainmill check` sees | "
        "`grainmill verify` sees | `qemu-img convert`: right, error, **wrong** | "
        "`grainmill convert`: right, error, **wrong** |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|\n");
    Row all;
    std::set<std::string_view> printed;
    for (const auto& [prefix, family] : kFamilies)
      if (const auto row = rows_.find(family); row != rows_.end() && printed.insert(family).second)
        print_row(family, row->second, &all);
    print_row("all", all, nullptr);
  }

 private:
  void list_tasks() {
    for (std::size_t form = 0; form < forms_.size(); ++form) {
      const Victim victim(*forms_[form]);
      if (const Score healthy = Judge(victim).judge();
          healthy.seen_by_qemu || healthy.seen_by_us || healthy.seen_by_verify ||
          healthy.by_qemu != Conversion::right || healthy.by_us != Conversion::right)
        throw std::runtime_error(forms_[form]->name + ": not all agree on the healthy image");
      for (const DamageKind& kind : damage_kinds()) {
        const std::size_t places = kind.places(victim.disk());
        std::set<std::size_t> tried;
        for (std::size_t i = 0; places != 0 && i < kPlacesTried; ++i)
          tried.insert(i * (places - 1) / (kPlacesTried - 1));
        for (const std::size_t place : tried) tasks_.push_back({&kind, form, place});
      }
    }
  }

  void work() {
    try {
      std::map<std::size_t, std::unique_ptr<Victim>> victims;
      for (std::size_t i = next_++; i < tasks_.size(); i = next_++) {
        const Task& task = tasks_[i];
        std::unique_ptr<Victim>& victim = victims[task.form];
        if (!victim) victim = std::make_unique<Victim>(*forms_[task.form]);
        task.kind->apply(victim->disk(), task.place);
        const Score score = Judge(*victim).judge();
        victim->heal();
        note(task, score);
      }
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      failure_ = std::current_exception();
    }
  }

  void note(const Task& task, const Score& score) {
    const std::scoped_lock lock(mutex_);
    rows_[family_of(task.kind->name)].add(task.kind->name, score);
    if (!verbose_) return;
    const auto say = [&](std::string_view who, bool it_is) {
      if (it_is)
        fmt::print(stderr, "{:28} {:34} {} {}\n", who, task.kind->name, forms_[task.form]->name,
                   task.place);
    };
    say("qemu-img converts wrongly:", score.by_qemu == Conversion::wrong);
    say("grainmill converts wrongly:", score.by_us == Conversion::wrong);
    say("grainmill check sees none:", !score.seen_by_us && score.by_us != Conversion::right);
  }

  static void print_row(std::string_view name, const Row& row, Row* all) {
    fmt::print("| {} | {} | {} | {} | {} | {} | {}, {}, **{}** | {}, {}, **{}** |\n", name,
               row.kinds.size(), row.images, row.seen_by_qemu, row.seen_by_us, row.seen_by_verify,
               row.by_qemu[0], row.by_qemu[1], row.by_qemu[2], row.by_us[0], row.by_us[1],
               row.by_us[2]);
    if (all == nullptr) return;
    all->kinds.insert(row.kinds.begin(), row.kinds.end());
    all->images += row.images;
    all->seen_by_qemu += row.seen_by_qemu;
    all->seen_by_us += row.seen_by_us;
    all->seen_by_verify += row.seen_by_verify;
    for (std::size_t i = 0; i < row.by_qemu.size(); ++i) {
      all->by_qemu[i] += row.by_qemu[i];
      all->by_us[i] += row.by_us[i];
    }
  }

  bool verbose_;
  std::vector<const ImageForm*> forms_;
  std::vector<Task> tasks_;
  std::atomic<std::size_t> next_ = 0;
  std::mutex mutex_;
  std::map<std::string_view, Row> rows_;
  std::exception_ptr failure_;
};

int run_scoreboard(bool verbose) {
  if (!has_qemu_img()) {
    fmt::print(stderr, "no qemu-img: nothing to hold our program against\n");
    return 1;
  }
  const auto start = std::chrono::steady_clock::now();
  Scoreboard scoreboard(verbose);
  scoreboard.run();
  scoreboard.print();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  fmt::print(stderr, "{:.0f} s\n", taken.count());
  return 0;
}

}  // namespace
}  // namespace grainmill::testing

int main(int argc, char** argv) {
  try {
    return grainmill::testing::run_scoreboard(argc > 1 && std::string_view(argv[1]) == "-v");
  } catch (const std::exception& error) {
    fmt::print(stderr, "scoreboard: {}\n", error.what());
    return 1;
  }
}
