// SPDX-License-Identifier: Apache-2.0
//
// Real images: each converts to the contents that the catalogue says, or is refused for a reason
// that a person can act on.
#include "tests/support/corpus.h"

#include "tests/conversion.h"
#include "tests/support/reference_reader.h"
#include "tests/support/run_command.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

// What the refusal must name, by the entry's id and, where an entry has several files, the end of
// the file's name.
struct Refusal {
  std::string id;
  std::string file_end;
  ErrorKind kind;
  std::string reason;
};

const std::vector<Refusal>& refusals() {
  using enum ErrorKind;
  static const std::vector<Refusal> kRefusals = {
      {"SO03", "", corrupt, "the stream is truncated"},
      {"TS01", "-s001.vmdk", unsupported, "open its descriptor, "},
      {"TS03", "-s001.vmdk", unsupported, "open its descriptor, "},
      {"TS05", "", not_found, "tw_sparse_data-s001.vmdk: cannot open"},
      {"FL01", "-flat.vmdk", unsupported, "open its descriptor, "},
      {"FL03", "-f001.vmdk", unsupported, "open its descriptor, "},
      {"VM01", "-flat.vmdk", unsupported, "open its descriptor, "},
      {"RD01", "", unsupported, "createType 'fullDevice' is not supported"},
      {"RD02", "", unsupported, "createType 'fullDevice' is not supported"},
      {"RD04", "", unsupported, "createType 'fullDevice' is not supported"},
      {"DT01", "", not_found, "Virtual Disk-s001.vmdk: cannot open"},
      {"DT02", "", not_found, "MS-DOS-s001.vmdk: cannot open"},
      {"FZ01", "", corrupt, "newline test bytes are changed"},
  };
  return kRefusals;
}

const Refusal* find_refusal(const CorpusEntry& entry) {
  const auto found = std::ranges::find_if(refusals(), [&](const Refusal& refusal) {
    return refusal.id == entry.id && entry.file.string().ends_with(refusal.file_end);
  });
  return found == refusals().end() ? nullptr : &*found;
}

class Corpus : public ::testing::TestWithParam<CorpusEntry> {
 protected:
  void SetUp() override {
    if (GetParam().is_packed() && !has_command("bunzip2")) GTEST_SKIP() << "no bunzip2";
    image_ = corpus_image(GetParam(), dir_);
    options_ = convert_options(image_, output_);
  }

  TempDir dir_;
  fs::path image_;
  fs::path output_ = dir_ / "out.img";
  ConvertOptions options_;
};

class CorpusDisk : public Corpus {};

TEST_P(CorpusDisk, ConvertsToTheCataloguedContents) {
  const Result<ConvertReport> report = convert(posix_file_system(), options_);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->disk_bytes, GetParam().virtual_size_bytes);

  // The digest of many gigabytes of zeros takes long; the reference reader's was taken already.
  constexpr std::uint64_t kMostDigested = kGiB;
  if (report->disk_bytes <= kMostDigested) {
    EXPECT_EQ(ReferenceDisk::open_raw(output_).sha256(), GetParam().sha256);
  } else {
    ReferenceDisk::open(image_).write_raw(dir_ / "reference.img");
    expect_same_disks(output_, dir_ / "reference.img");
  }
  const Verification image = verify_image(image_, options_.manifest);
  EXPECT_TRUE(image.same()) << image;
}

class CorpusRefusal : public Corpus {};

TEST_P(CorpusRefusal, NamesTheReason) {
  const Refusal* refusal = find_refusal(GetParam());
  ASSERT_NE(refusal, nullptr) << "an entry without a digest: say here why it is refused";
  const Result<ConvertReport> report = convert(posix_file_system(), options_);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, refusal->kind) << report.error();
  EXPECT_NE(report.error().to_string().find(refusal->reason), std::string::npos) << report.error();
  EXPECT_FALSE(fs::exists(output_));
  EXPECT_FALSE(fs::exists(options_.manifest));
}

std::vector<CorpusEntry> corpus_refusals() {
  std::vector<CorpusEntry> entries = corpus_entries();
  std::erase_if(entries, [](const CorpusEntry& entry) { return !entry.sha256.empty(); });
  return entries;
}

std::string entry_name(const ::testing::TestParamInfo<CorpusEntry>& test) { return test.param.id; }

TEST(CorpusFolder, IsThere) {
  if (corpus_folder().empty()) GTEST_SKIP() << "no GRAINMILL_CORPUS and no ../shared/corpus";
  EXPECT_FALSE(corpus_disks().empty());
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CorpusDisk);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CorpusRefusal);
INSTANTIATE_TEST_SUITE_P(Disks, CorpusDisk, ::testing::ValuesIn(corpus_disks()), entry_name);
INSTANTIATE_TEST_SUITE_P(Others, CorpusRefusal, ::testing::ValuesIn(corpus_refusals()), entry_name);

}  // namespace
}  // namespace grainmill::testing
