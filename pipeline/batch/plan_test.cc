// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/plan.h"

#include "pipeline/batch/utc_time.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"
#include "tests/support/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace grainmill {
namespace {

using testing::HasError;
using testing::IsOk;
using testing::MemoryFileSystem;
using testing::mix;

const std::string kHeader =
    R"({"grainmill_plan":1,"created":"2026-11-28T01:02:03Z","output":{"format":"qcow2"}})"
    "\n";
const std::string kImage = R"({"source":"/old/a.vmdk","target":"/new/a.qcow2","state":"queued"})"
                           "\n";

BatchPlan some_plan() {
  BatchPlan plan;
  plan.created = 1795827723;
  plan.output = {.format = "vmdk",
                 .settings = {"subformat=streamOptimized", "adapter_type=ide"},
                 .compress = true,
                 .level = "9",
                 .digest = "sha256"};
  plan.policy = {.allowed_folders = {"/bases", "/a \xff b"}, .allow_any_path = true};
  plan.images = {{.source = "/old/a.vmdk",
                  .target = "/new/a.vmdk",
                  .chain = {"/old/a.vmdk", "/old/base.vmdk"},
                  .disk_bytes = 1,
                  .source_bytes = 2,
                  .target_bytes = UINT64_MAX},
                 {.source = "/old/b.img",
                  .source_format = "raw",
                  .ignore_content_ids = true,
                  .target = "/new/b.vmdk"},
                 {.source = "/old/c.ova", .state = PlannedState::skipped, .reason = "OVA"}};
  return plan;
}

void expect_same(const BatchPlan& one, const BatchPlan& other) {
  EXPECT_EQ(one.created, other.created);
  EXPECT_EQ(one.output.format, other.output.format);
  EXPECT_EQ(one.output.settings, other.output.settings);
  EXPECT_EQ(one.output.compress, other.output.compress);
  EXPECT_EQ(one.output.level, other.output.level);
  EXPECT_EQ(one.output.digest, other.output.digest);
  EXPECT_EQ(one.policy.allowed_folders, other.policy.allowed_folders);
  EXPECT_EQ(one.policy.allow_any_path, other.policy.allow_any_path);
  ASSERT_EQ(one.images.size(), other.images.size());
  for (std::size_t i = 0; i < one.images.size(); ++i) {
    const PlannedImage& image = one.images[i];
    const PlannedImage& same = other.images[i];
    EXPECT_EQ(image.source, same.source);
    EXPECT_EQ(image.source_format, same.source_format);
    EXPECT_EQ(image.ignore_content_ids, same.ignore_content_ids);
    EXPECT_EQ(image.target, same.target);
    EXPECT_EQ(image.chain, same.chain);
    EXPECT_EQ(image.disk_bytes, same.disk_bytes);
    EXPECT_EQ(image.source_bytes, same.source_bytes);
    EXPECT_EQ(image.target_bytes, same.target_bytes);
    EXPECT_EQ(image.state, same.state);
    EXPECT_EQ(image.reason, same.reason);
  }
}

TEST(Plan, ComesBackAsItWas) {
  const BatchPlan plan = some_plan();
  const Result<BatchPlan> parsed = parse_plan(format_plan(plan), "p");
  ASSERT_TRUE(IsOk(parsed));
  expect_same(*parsed, plan);
}

TEST(Plan, ComesBackWhateverNamesThereAre) {
  for (const std::string name :
       {"/\xff", "/a\xc3", "/\xed\xa0\x80", "/\xc0\xaf", "/gr\xc3\xbc\xc3\x9f", "/\xef\xbf\xbd",
        "/two\nlines\r\t\x1b[31m", "/\"quotes\" \\ and {\"hex\":\"00\"}", "/%ff", "/\\udcff",
        "/\xf0\x9f\x92\xbe"}) {
    BatchPlan plan = some_plan();
    plan.images = {{.source = name + ".vmdk",
                    .target = "/new" + name,
                    .chain = {name + ".vmdk", name},
                    .reason = "of " + name}};
    const std::string text = format_plan(plan);
    EXPECT_EQ(std::ranges::count(text, '\n'), 2) << text;
    const Result<BatchPlan> parsed = parse_plan(text, "p");
    ASSERT_TRUE(IsOk(parsed)) << text;
    expect_same(*parsed, plan);
  }
}

TEST(Plan, LinesMayBeTakenOutAndMoved) {
  const std::string other = R"({"state":"queued","target":"/new/b","source":"/old/b"})";
  const Result<BatchPlan> parsed =
      parse_plan("\n" + kHeader + "  \r\n" + other + "\r\n\n" + kImage, "p");
  ASSERT_TRUE(IsOk(parsed));
  ASSERT_EQ(parsed->images.size(), 2U);
  EXPECT_EQ(parsed->images[0].source, "/old/b");
  EXPECT_EQ(parsed->images[1].source, "/old/a.vmdk");
  EXPECT_TRUE(IsOk(parse_plan(kHeader, "p")));
}

TEST(Plan, ErrorsNameTheLineAndWhatWasFound) {
  const auto image = [](const std::string& fields) { return kHeader + "\n{" + fields + "}\n"; };
  const std::string good = R"("source":"/a","target":"/b","state":"queued")";
  ASSERT_TRUE(IsOk(parse_plan(image(good), "p")));
  struct Case {
    std::string text;
    std::string part;
  };
  for (const Case& each : std::vector<Case>{
           {"", "p: is empty"},
           {kImage, "line 1: has no 'grainmill_plan'"},
           {kHeader + kHeader, "line 2: the disk has a field \"grainmill_plan\""},
           {"{\"grainmill_plan\":1}", "line 1: the header has no 'created'"},
           {kHeader + "nonsense", "line 2: is not a JSON object"},
           {kHeader + "[]", "line 2: the disk is []: expected an object"},
           {kHeader + kImage.substr(0, 30), "line 2: is not a JSON object"},
           {kHeader + kImage + kImage, "line 3: target '/new/a.qcow2' is that of line 2 already"},
           {image(good + R"(,"speed":1)"), "line 3: the disk has a field \"speed\""},
           {image(good + R"(,"source":"/c")"), "line 3: has the field \"source\" twice"},
           {image(R"("target":"/b","state":"queued")"), "line 3: the disk has no 'source'"},
           {image(R"("source":"/a","target":"/b")"), "line 3: the disk has no 'state'"},
           {image(R"("source":"/a","state":"queued")"), "'target' is \"\""},
           {image(R"("source":"a","target":"/b","state":"queued")"),
            "'source' is \"a\": expected an absolute path"},
           {image(R"("source":"/a","target":"/b/","state":"queued")"),
            "expected the name of a file"},
           {image(R"("source":"/a","target":"/b","state":"done")"),
            "'state' is \"done\": expected queued or skipped"},
           {image(R"("source":7,"target":"/b","state":"queued")"),
            "'source' is 7: expected a text"},
           {image(R"("source":{"hex":"2"},"target":"/b","state":"queued")"), "'source' is {"},
           {image(R"("source":"/a\u0000b","target":"/b","state":"queued")"), "without zero bytes"},
           {image(good + R"(,"disk_bytes":-1)"), "'disk_bytes' is -1"},
           {image(good + R"(,"disk_bytes":1.5)"), "'disk_bytes' is 1.5"},
           {image(good + R"(,"disk_bytes":18446744073709551616)"), "expected a whole number"},
           {image(good + R"(,"chain":"/a")"), "'chain' is \"/a\": expected an array"},
           {image(good + R"(,"chain":[1])"), "'chain' is 1"},
           {image(good + R"(,"source_format":"floppy")"), "'source_format' is \"floppy\""},
           {R"({"grainmill_plan":1,"created":"today","output":{"format":"raw"}})",
            "'created' is \"today\""},
           {R"({"grainmill_plan":1,"created":"2026-11-28T01:02:03Z"})", "has no 'output'"},
           {R"({"grainmill_plan":1,"created":"2026-11-28T01:02:03Z","output":{"format":"vhd"}})",
            "'format' is \"vhd\": expected a format that can be written"},
           {R"({"grainmill_plan":1,"created":"2026-11-28T01:02:03Z",
               "output":{"format":"raw","speed":1}})",
            "line 1: is not a JSON object"},
           {R"({"grainmill_plan":1,"created":"2026-11-28T01:02:03Z","output":{"format":"raw",)"
            R"("digest":"md5"}})",
            "'digest' is \"md5\""},
           {R"({"grainmill_plan":1,"created":"2026-11-28T01:02:03Z","output":{"format":"raw"},)"
            R"("allow":{"folders":["here"]}})",
            "'folders' is \"here\": expected absolute paths"},
       })
    EXPECT_TRUE(HasError(parse_plan(each.text, "p"), ErrorKind::invalid_argument, each.part))
        << each.text;
}

TEST(Plan, OtherVersionsAreRefusedByName) {
  for (const std::string version : {"2", "0", "\"1\"", "null", "1.5"})
    EXPECT_TRUE(HasError(parse_plan("{\"grainmill_plan\":" + version + "}", "p"),
                         ErrorKind::unsupported, "version " + version + "; version 1 is known"));
}

TEST(Plan, IsWrittenAndRead) {
  MemoryFileSystem files;
  EXPECT_TRUE(HasError(read_plan(files, "/p"), ErrorKind::not_found));
  ASSERT_TRUE(IsOk(write_plan(files, "/p", some_plan())));
  const Result<BatchPlan> read = read_plan(files, "/p");
  ASSERT_TRUE(IsOk(read));
  expect_same(*read, some_plan());
}

// What is parsed comes back as it is; all else is refused with a line.
void expect_safe(const std::string& text) {
  const Result<BatchPlan> parsed = parse_plan(text, "p");
  if (!parsed) {
    EXPECT_FALSE(parsed.error().message.empty());
    return;
  }
  const Result<BatchPlan> again = parse_plan(format_plan(*parsed), "p");
  ASSERT_TRUE(IsOk(again)) << text;
  expect_same(*again, *parsed);
}

TEST(Plan, AnyBytesAreSafe) {
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    std::string text;
    for (std::uint64_t i = 0; i < mix(seed) % 200; ++i)
      text += static_cast<char>(mix(seed * 1000 + i));
    expect_safe(text);
    expect_safe(kHeader + text);
  }
  expect_safe(std::string(1 << 20, '['));
  expect_safe(kHeader + std::string(1 << 20, '{'));
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  for (const std::string& text : {deep, kHeader + deep, kHeader + "{\"source\":" + deep + "}"})
    EXPECT_TRUE(HasError(parse_plan(text, "p"), ErrorKind::invalid_argument, "nested too deeply"));
}

TEST(Plan, AnyChangeOfOneIsSafe) {
  const std::string whole = format_plan(some_plan());
  const std::string alphabet = "{}[]\",:\\0-9eE.\n\xff\x80u ntf";
  for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
    std::string text = whole;
    for (std::uint64_t i = 0; i <= mix(seed) % 3; ++i) {
      const std::uint64_t dice = mix(seed * 8 + i);
      const std::size_t at = dice / 16 % text.size();
      const char byte = alphabet[dice / 7919 % alphabet.size()];
      if (dice % 4 == 0) text.erase(at, dice / 64 % 8);
      if (dice % 4 == 1) text.insert(at, 1, byte);
      if (dice % 4 == 2) text[at] = byte;
      if (dice % 4 == 3) text.insert(at, text.substr(dice / 256 % text.size(), dice / 64 % 40));
    }
    expect_safe(text);
  }
}

TEST(UtcTime, IsWrittenAndRead) {
  EXPECT_EQ(utc_text(0), "1970-01-01T00:00:00Z");
  for (const std::int64_t time : {0L, 951827696L, 1795827723L, 253402300799L})
    EXPECT_EQ(parse_utc(utc_text(time)), time) << utc_text(time);
  EXPECT_EQ(utc_text(951827696), "2000-02-29T12:34:56Z");
  for (const char* wrong : {"", "2026-11-28", "2026-11-28 01:02:03Z", "2026-11-28T01:02:03",
                            "2026-13-28T01:02:03Z", "2026-02-30T01:02:03Z", "2026-11-28T24:02:03Z",
                            "2026-11-28T01:60:03Z", "1969-11-28T01:02:03Z", "+026-11-28T01:02:03Z"})
    EXPECT_EQ(parse_utc(wrong), std::nullopt) << wrong;
}

}  // namespace
}  // namespace grainmill
