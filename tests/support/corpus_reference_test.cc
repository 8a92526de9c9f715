// SPDX-License-Identifier: Apache-2.0
//
// Is the oracle right? Its digests of real images are those of the catalogue, which were made by
// another program.
#include "tests/support/corpus.h"
#include "tests/support/reference_reader.h"
#include "tests/support/run_command.h"

#include <gtest/gtest.h>

namespace grainmill::testing {
namespace {

TEST(Corpus, IsThere) {
  if (corpus_folder().empty()) GTEST_SKIP() << "no GRAINMILL_CORPUS and no ../shared/corpus";
  EXPECT_FALSE(corpus_disks().empty());
}

class CorpusDisk : public ::testing::TestWithParam<CorpusEntry> {};

TEST_P(CorpusDisk, HasTheCataloguedContents) {
  const CorpusEntry& entry = GetParam();
  if (entry.is_packed() && !has_command("bunzip2")) GTEST_SKIP() << "no bunzip2";
  const TempDir dir;
  const ReferenceDisk disk = ReferenceDisk::open(corpus_image(entry, dir));
  EXPECT_EQ(disk.size_bytes(), entry.virtual_size_bytes);
  EXPECT_EQ(disk.sha256(), entry.sha256);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CorpusDisk);
INSTANTIATE_TEST_SUITE_P(All, CorpusDisk, ::testing::ValuesIn(corpus_disks()),
                         [](const auto& test) { return test.param.id; });

}  // namespace
}  // namespace grainmill::testing
