// SPDX-License-Identifier: Apache-2.0
#include "pipeline/resume_journal.h"

#include "engine/base/fields.h"
#include "engine/codec/digest.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace grainmill {
namespace {

constexpr std::string_view kMagic = "GMRESUME";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kHeaderBytes = 16;
constexpr std::uint64_t kLengthBytes = sizeof(std::uint64_t);

std::vector<std::byte> header() {
  std::vector<std::byte> bytes(kHeaderBytes);
  std::ranges::copy(std::as_bytes(std::span(kMagic)), bytes.begin());
  store_le(bytes.data() + kMagic.size(), kVersion);
  return bytes;
}

// Of a record, and of all that come before it: what is left of an older journal never goes on with
// a newer one.
std::vector<std::byte> chained_digest(std::span<const std::byte> before,
                                      std::span<const std::byte> record) {
  StreamDigest digest;
  digest.update(before);
  digest.update(record);
  std::vector<std::byte> bytes(kDigest128Bytes);
  store_digest(bytes.data(), digest.digest());
  return bytes;
}

}  // namespace

Result<ResumeJournal> ResumeJournal::open(FileSystem& files, const std::string& path,
                                          Durability durability) {
  GM_TRY(std::unique_ptr<PendingFile> pending, files.create_partial(path, path, durability));
  ResumeJournal journal(std::move(pending));
  GM_CHECK(journal.load());
  return journal;
}

Status ResumeJournal::load() {
  std::array<std::byte, kHeaderBytes> head{};
  GM_TRY(const std::size_t got, file().read_at(0, head));
  // The name alone does not make a file ours. After a power cut there may be zeros in it.
  const auto magic = std::span(head).first(std::min(got, kMagic.size()));
  const auto expected = std::as_bytes(std::span(kMagic)).first(magic.size());
  if (!std::ranges::equal(magic, expected) &&
      !std::ranges::all_of(head, [](std::byte byte) { return byte == std::byte{0}; }))
    return fail(ErrorKind::invalid_argument, file().path(),
                "is not the journal of a conversion, whose name it has: move it away");
  end_ = kHeaderBytes;
  last_digest_.clear();
  if (!std::ranges::equal(head, header())) return {};
  GM_TRY(const FileInfo info, file().info());
  for (;;) {
    GM_TRY(const std::vector<std::byte> record, next_record(info.size_bytes));
    if (record.empty()) return {};
    if (!(has_identity_ ? take_checkpoint(record) : take_identity(record))) return {};
    end_ += kLengthBytes + record.size() + kDigest128Bytes;
    last_digest_ = chained_digest(last_digest_, record);
  }
}

Result<std::vector<std::byte>> ResumeJournal::next_record(std::uint64_t file_bytes) {
  constexpr std::uint64_t kAround = kLengthBytes + kDigest128Bytes;
  if (file_bytes < end_ || file_bytes - end_ < kAround) return std::vector<std::byte>();
  std::array<std::byte, kLengthBytes> length{};
  GM_CHECK(file().read_exact_at(end_, length));
  const auto record_bytes = load_le<std::uint64_t>(length.data());
  if (record_bytes > file_bytes - end_ - kAround) return std::vector<std::byte>();
  std::vector<std::byte> record(record_bytes + kDigest128Bytes);
  GM_CHECK(file().read_exact_at(end_ + kLengthBytes, record));
  const std::vector<std::byte> digest(record.end() - kDigest128Bytes, record.end());
  record.resize(record_bytes);
  if (chained_digest(last_digest_, record) != digest) record.clear();
  return record;
}

bool ResumeJournal::take_identity(std::span<const std::byte> record) {
  FieldReader in(record);
  while (in.ok() && !in.at_end()) {
    const auto line = in.block();
    identity_.emplace_back(reinterpret_cast<const char*>(line.data()), line.size());
  }
  return has_identity_ = in.ok();
}

bool ResumeJournal::take_checkpoint(std::span<const std::byte> record) {
  FieldReader in(record);
  const auto guest_end = in.word<std::uint64_t>();
  static_cast<void>(in.block());
  static_cast<void>(in.block());
  if (!in.at_end() || guest_end <= (places_.empty() ? 0 : places_.back().guest_end)) return false;
  places_.push_back({guest_end, end_ + kLengthBytes, record.size()});
  return true;
}

Result<Checkpoint> ResumeJournal::read(std::size_t index) const {
  const Place& place = places_[index];
  std::vector<std::byte> record(place.length);
  GM_CHECK(file().read_exact_at(place.offset, record));
  FieldReader in(record);
  Checkpoint checkpoint{.guest_end = in.word<std::uint64_t>(), .digests = {}, .state = {}};
  const auto digests = in.block();
  checkpoint.digests.assign(digests.begin(), digests.end());
  const auto state = in.block();
  checkpoint.state.assign(state.begin(), state.end());
  return checkpoint;
}

Status ResumeJournal::begin(std::vector<std::string> identity, Durability durability) {
  has_identity_ = false;
  places_.clear();
  end_ = kHeaderBytes;
  last_digest_.clear();
  GM_CHECK(file().resize(0));
  GM_CHECK(file().write_at(0, header()));
  FieldWriter out;
  for (const std::string& line : identity) out.block(std::as_bytes(std::span(line)));
  GM_CHECK(put(out.take(), durability));
  identity_ = std::move(identity);
  has_identity_ = true;
  return {};
}

Status ResumeJournal::append(const Checkpoint& checkpoint, Durability durability) {
  FieldWriter out;
  out.word(checkpoint.guest_end);
  out.block(checkpoint.digests);
  out.block(checkpoint.state);
  const std::vector<std::byte> record = out.take();
  const Place place{checkpoint.guest_end, end_ + kLengthBytes, record.size()};
  GM_CHECK(put(record, durability));
  places_.push_back(place);
  return {};
}

Status ResumeJournal::put(std::span<const std::byte> record, Durability durability) {
  const std::vector<std::byte> digest = chained_digest(last_digest_, record);
  std::vector<std::byte> bytes(kLengthBytes);
  store_le<std::uint64_t>(bytes.data(), record.size());
  bytes.insert(bytes.end(), record.begin(), record.end());
  bytes.insert(bytes.end(), digest.begin(), digest.end());
  GM_CHECK(file().write_at(end_, bytes));
  if (durability == Durability::synced) GM_CHECK(file().sync());
  end_ += bytes.size();
  last_digest_ = digest;
  return {};
}

}  // namespace grainmill
