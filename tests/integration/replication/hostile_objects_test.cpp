// Objects in the bucket that are wrong in one way each, while everything around is right. None may touch the
// replica; the follower says why, and goes on when the object is replaced or removed.
#include <cstring>
#include <iostream>

#include "ltx/format.hpp"
#include "standby_fixture.hpp"

namespace litecluster::replication {
namespace {

using test::RawFile;
using test::RawPage;
using test::SourceChange;

class HostileObjects : public test::StandbyTest {
 protected:
  struct Object {
    const SourceChange& change;
    const SourceChange& before;
    RawFile file;
    Json metadata;
    base::Bytes bytes;  // built from `file` unless set
    bool stored = true;
  };
  struct Case {
    const char* what;
    std::function<void(Object&)> spoil;
  };

  /// Each case is the next TXID of one log.
  void expect_refused(const std::vector<Case>& cases) {
    SourceChange before = publish_next(5);
    for (int count = 0; count < 4; ++count) before = publish_next(5);
    start_follower();
    ASSERT_TRUE(reaches(before.txid));
    int number = 0;
    for (const Case& hostile : cases) {
      SCOPED_TRACE(hostile.what);
      const SourceChange change = next_change();
      const std::string before_print = fingerprint();
      Object object{.change = change,
                    .before = before,
                    .file = RawFile(change),
                    .metadata = {},
                    .bytes = {},
                    .stored = true};
      const std::string nuid = "nuid" + std::to_string(++number);
      object.metadata = metadata(described(change, 5), {}, nuid);
      const Json untouched = object.metadata;
      hostile.spoil(object);
      if (object.bytes.empty()) object.bytes = object.file.build();
      // What the case did not set is true.
      const Json truth = metadata(described(change, 5), object.bytes, nuid);
      for (const char* key : {"size", "chunks", "digest"}) {
        if (object.metadata.value(key, Json()) == untouched.value(key, Json()))
          object.metadata[key] = truth[key];
      }
      const auto name = log::ObjectName::raw(change.txid);
      if (!object.stored) object.bytes.clear();
      inject(name, object.bytes, object.metadata);
      // The next one is good, so that what cannot be read at all is missed as well.
      const SourceChange next = next_change();
      publish(next, 5);
      const std::string why = problem();
      std::cout << hostile.what << ": " << why << std::endl;
      EXPECT_NE(why, "none");
      EXPECT_EQ(follower_->position().txid, before.txid);
      EXPECT_NE(follower_->lag().txids.value_or(0), 0U);
      EXPECT_EQ(fingerprint(), before_print);
      // Repaired by somebody: replaced, or removed and written again.
      if (number % 2 == 0) {
        const auto stored = bucket_->info(test::soon(), name);
        if (stored) ASSERT_OK(bucket_->remove(test::soon(), *stored));
      }
      const base::Bytes good = RawFile(change).build();
      inject(name, good, metadata(described(change, 5), good, nuid + "good"));
      ASSERT_TRUE(reaches(next.txid)) << problem();
      ASSERT_TRUE(problem_passes()) << problem();
      before = next;
    }
    expect_content(before);
  }
};

TEST_F(HostileObjects, WithWrongMetadataAreRefused) {
  expect_refused({
      {"another digest",
       [](Object& object) {
         base::Sha256 other;
         other.update(base::as_bytes("other"));
         object.metadata["digest"] = nats::digest_text(other.finish());
       }},
      {"a digest that is none", [](Object& object) { object.metadata["digest"] = "SHA-256=abc"; }},
      {"a digest of another kind", [](Object& object) { object.metadata["digest"] = "MD5=abc"; }},
      {"one byte more", [](Object& object) { object.metadata["size"] = object.file.build().size() + 1; }},
      {"one byte less", [](Object& object) { object.metadata["size"] = object.file.build().size() - 1; }},
      {"no size", [](Object& object) { object.metadata.erase("size"); }},
      {"a huge size", [](Object& object) { object.metadata["size"] = std::uint64_t{1} << 62U; }},
      {"a negative size", [](Object& object) { object.metadata["size"] = -1; }},
      {"two chunks", [](Object& object) { object.metadata["chunks"] = 2; }},
      {"very many chunks", [](Object& object) { object.metadata["chunks"] = std::uint64_t{1} << 60U; }},
      {"another object's bytes",
       [](Object& object) {
         object.metadata["nuid"] = "nuid1";
         object.stored = false;
       }},
      {"bytes that are nowhere",
       [](Object& object) {
         object.stored = false;
         object.metadata["nuid"] = "nowhere";
       }},
      {"a wildcard for a place",
       [](Object& object) {
         object.metadata["nuid"] = ">";
         object.stored = false;
       }},
      {"no place",
       [](Object& object) {
         object.metadata.erase("nuid");
         object.stored = false;
       }},
      {"another name than its subject", [](Object& object) { object.metadata["name"] = "ltx/0/other.ltx"; }},
      {"a link",
       [](Object& object) { object.metadata["options"]["link"] = {{"bucket", "b"}, {"name", "n"}}; }},
      {"an epoch from before",
       [](Object& object) { object.metadata["headers"]["Litecluster-Epoch"] = {"4"}; }},
      {"an epoch that is no number",
       [](Object& object) { object.metadata["headers"]["Litecluster-Epoch"] = {"five"}; }},
      {"epoch 0", [](Object& object) { object.metadata["headers"]["Litecluster-Epoch"] = {"0"}; }},
      {"another checksum",
       [](Object& object) {
         object.metadata["headers"]["Litecluster-Checksum"] = {
             to_string(object.before.checksum.toggled(Checksum(5)))};
       }},
      {"a checksum that is none",
       [](Object& object) { object.metadata["headers"]["Litecluster-Checksum"] = {"right"}; }},
      // Its pages lead to the right state, since they hold what the other one had changed.
      {"another state that it was made on",
       [](Object& object) {
         object.metadata["headers"]["Litecluster-Pre-Apply-Checksum"] = {
             to_string(object.before.checksum.toggled(Checksum(5)))};
       }},
      {"another state of the same checksum that it was made on",
       [](Object& object) {
         object.metadata["headers"]["Litecluster-Pre-Apply-Checksum"] = {to_string(object.before.checksum)};
         object.metadata["headers"]["Litecluster-Previous-File-Checksum"] = {to_string(Checksum(9))};
       }},
      {"a checksum that is none of what it was made on",
       [](Object& object) { object.metadata["headers"]["Litecluster-Pre-Apply-Checksum"] = {"right"}; }},
  });
}

TEST_F(HostileObjects, WithWrongHeadersAreRefused) {
  expect_refused({
      {"no LTX file", [](Object& object) { object.file.header[0] = std::byte{'M'}; }},
      {"unknown flags", [](Object& object) { object.file.set(4, std::uint32_t{0x12}); }},
      {"another page size", [](Object& object) { object.file.set(8, std::uint32_t{8192}); }},
      {"an impossible page size", [](Object& object) { object.file.set(8, std::uint32_t{4097}); }},
      {"a database of no pages", [](Object& object) { object.file.set(12, std::uint32_t{0}); }},
      {"a database of one page", [](Object& object) { object.file.set(12, std::uint32_t{1}); }},
      {"a database that grew by nothing",
       [](Object& object) { object.file.set(12, object.change.page_count + 7); }},
      {"a database beyond SQLite's limit",
       [](Object& object) { object.file.set(12, std::uint32_t{0xFFFFFFFF}); }},
      {"TXID 0", [](Object& object) { object.file.set(16, std::uint64_t{0}); }},
      {"the TXID before",
       [](Object& object) {
         object.file.set(16, object.before.txid.value());
         object.file.set(24, object.before.txid.value());
       }},
      {"the TXID after", [](Object& object) { object.file.set(24, object.change.txid.value() + 1); }},
      {"the largest TXID", [](Object& object) { object.file.set(24, ~std::uint64_t{0}); }},
      {"TXIDs that run backwards", [](Object& object) { object.file.set(24, std::uint64_t{1}); }},
      {"a pre-apply checksum where none may be",
       [](Object& object) { object.file.set(40, object.before.checksum.value()); }},
      {"a post-apply checksum where none may be",
       [](Object& object) { object.file.post_apply = object.change.checksum.value(); }},
      {"another pre-apply checksum",
       [](Object& object) {
         object.file.use_checksums(object.before.checksum.toggled(Checksum(9)), object.change.checksum);
       }},
      {"another post-apply checksum",
       [](Object& object) {
         object.file.use_checksums(object.before.checksum, object.change.checksum.toggled(Checksum(9)));
       }},
      {"a post-apply checksum that is wrong, and no other",
       [](Object& object) {
         object.file.use_checksums(object.before.checksum, object.change.checksum.toggled(Checksum(9)));
         object.metadata["headers"].erase("Litecluster-Checksum");
       }},
      {"a pre-apply checksum that is none",
       [](Object& object) {
         object.file.use_checksums(object.before.checksum, object.change.checksum);
         object.file.set(40, std::uint64_t{5});
       }},
      {"a negative WAL offset", [](Object& object) { object.file.set(48, ~std::uint64_t{0}); }},
      {"a negative WAL size", [](Object& object) { object.file.set(56, ~std::uint64_t{0}); }},
  });
}

TEST_F(HostileObjects, WithWrongPagesAreRefused) {
  expect_refused({
      {"no pages", [](Object& object) { object.file.pages.clear(); }},
      {"page 0",
       [](Object& object) {
         object.file.pages.front().number = 0;
         object.file.pages.front().pack();
       }},
      {"a page beyond the end",
       [](Object& object) {
         object.file.pages.emplace_back(object.change.page_count + 1, object.file.pages.front().content);
       }},
      {"a page twice", [](Object& object) { object.file.pages.push_back(object.file.pages.back()); }},
      {"pages in another order",
       [](Object& object) { object.file.pages.insert(object.file.pages.begin(), object.file.pages.back()); }},
      {"a page of another database",
       [](Object& object) {
         object.file.pages.back().content[100] ^= std::byte{1};
         object.file.pages.back().pack();
       }},
      {"a page with another number",
       [](Object& object) {
         RawPage& page = object.file.pages.back();
         page.number = page.number == 2 ? 3 : 2;
         RawPage moved = page;
         moved.pack();
         object.file.pages.assign(1, moved);
       }},
      {"a page 1 that is none of SQLite's",
       [](Object& object) { object.file.pages.assign(1, RawPage(1, base::Bytes(4096, std::byte{7}))); }},
      {"a page 1 of a database in rollback mode",
       [](Object& object) {
         RawPage& page = object.file.pages.front();
         ASSERT_EQ(page.number, 1U);
         page.content[18] = page.content[19] = std::byte{1};
         page.pack();
       }},
      {"unknown page flags",
       [](Object& object) {
         base::store_big_endian(object.file.pages.front().frame.data() + 4, std::uint16_t{0x8001});
       }},
      {"a length beyond the file",
       [](Object& object) {
         base::store_big_endian(object.file.pages.front().frame.data() + 6, std::uint32_t{0x7FFFFFFF});
       }},
      {"a length of 0",
       [](Object& object) {
         base::store_big_endian(object.file.pages.front().frame.data() + 6, std::uint32_t{0});
       }},
      {"LZ4 that is none",
       [](Object& object) {
         base::Bytes& frame = object.file.pages.front().frame;
         std::memset(frame.data() + 10, 0xFF, frame.size() - 10);
       }},
      {"LZ4 of half a page",
       [](Object& object) {
         RawPage& page = object.file.pages.front();
         const base::Bytes whole = page.content;
         page.content.resize(2048);
         page.pack();
       }},
      {"LZ4 of two pages",
       [](Object& object) {
         RawPage& page = object.file.pages.front();
         page.content.resize(8192);
         page.pack();
       }},
  });
}

TEST_F(HostileObjects, WithWrongEndsAreRefused) {
  expect_refused({
      {"an end marker that is none", [](Object& object) { object.file.end_marker[3] = std::byte{1}; }},
      {"an index that lies", [](Object& object) { object.file.index_lies = true; }},
      {"an index of another length", [](Object& object) { object.file.index_size_added = 1; }},
      {"another file checksum", [](Object& object) { object.file.checksum_toggle = 1; }},
      {"no file checksum", [](Object& object) { object.file.checksum_toggle = Checksum::flag; }},
      {"a byte behind the end", [](Object& object) { object.file.trailing = base::Bytes(1); }},
      {"a whole file behind the end", [](Object& object) { object.file.trailing = object.file.build(); }},
      {"a header and no more",
       [](Object& object) {
         object.bytes = object.file.build();
         object.bytes.resize(100);
       }},
      {"one byte missing at the end",
       [](Object& object) {
         object.bytes = object.file.build();
         object.bytes.pop_back();
       }},
      {"half of it",
       [](Object& object) {
         object.bytes = object.file.build();
         object.bytes.resize(object.bytes.size() / 2);
       }},
      {"one byte", [](Object& object) { object.bytes = base::Bytes(1, std::byte{'L'}); }},
      {"one bit, with the digest to it",
       [](Object& object) {
         object.bytes = object.file.build();
         object.bytes[object.bytes.size() / 2] ^= std::byte{4};
       }},
  });
}

// A whole new standby, while the newest of the log is bad: as far as it leads.
TEST_F(HostileObjects, DoNotKeepANewStandbyFromEverythingBefore) {
  SourceChange before = publish_next();
  for (int count = 0; count < 9; ++count) before = publish_next();
  const SourceChange change = next_change();
  const base::Bytes bytes = RawFile(change).build();
  Json wrong = metadata(described(change, 1), bytes, "wrong");
  wrong["headers"]["Litecluster-Checksum"] = {"8000000000000001"};
  inject(log::ObjectName::raw(change.txid), bytes, wrong);
  start_follower();
  ASSERT_TRUE(reaches(before.txid)) << problem();
  EXPECT_NE(problem(), "none");
  inject(log::ObjectName::raw(change.txid), bytes, metadata(described(change, 1), bytes, "right"));
  ASSERT_TRUE(reaches(change.txid));
  EXPECT_TRUE(problem_passes());
  expect_content(change);
}

// The snapshot that a new standby would take is bad, each way; the log before it is not.
TEST_F(HostileObjects, InASnapshotAreGoneAround) {
  SourceChange before = publish_next();
  for (int count = 0; count < 9; ++count) before = publish_next();
  const auto name = log::ObjectName::snapshot(before.txid);
  SourceChange whole = before;
  whole.pages.clear();
  for (std::uint32_t index = 0; index < before.page_count; ++index) {
    whole.pages.emplace_back(PageNo(index + 1), source_->image()[index]);
  }
  RawFile file(whole);
  file.set(16, std::uint64_t{1});
  file.pages[3].content[200] ^= std::byte{1};
  file.pages[3].pack();
  log::NewObject described_as = described(before, 1);
  described_as.name = name;
  const base::Bytes bytes = file.build();
  // Whole in itself, but not the database that its metadata promises.
  inject(name, bytes, metadata(described_as, bytes, "snapshot"));
  start_follower();
  ASSERT_TRUE(reaches(before.txid)) << problem();
  EXPECT_TRUE(problem_passes()) << "what is behind the position is of no interest";
  const SourceChange next = publish_next();
  ASSERT_TRUE(reaches(next.txid));
  expect_content(next);
}

}  // namespace
}  // namespace litecluster::replication
