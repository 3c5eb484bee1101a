#include "log/restore.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "log/maintenance.hpp"
#include "unit/log/log_fixture.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using test::author;

class RestoreTest : public test::LogTest {
 protected:
  void SetUp() override {
    leader_ = make_appender(1);
    leader_->start({});
  }

  void compact(int level, std::uint64_t min, std::uint64_t max, int source) {
    CompactionJob job{.level = level};
    const auto view = read_log(context_, bucket_);
    for (const auto& [name, object] : view->level(source)) {
      if (name.min >= Txid(min) && name.max <= Txid(max)) job.inputs.push_back(object);
    }
    const auto object = maintenance_.compact(context_, job);
    ASSERT_TRUE(object) << object.error().message();
  }

  void snapshot() {
    const auto bytes = model_.snapshot(clock_.wall_time());
    const auto object =
        maintenance_.put_snapshot(context_, model_.txid(), clock_.wall_time(), model_.checksum(),
                                  [&bytes](ltx::Sink& sink) { return sink.write(bytes); });
    ASSERT_TRUE(object) << object.error().message();
  }

  std::unique_ptr<Appender> leader_;
  Maintenance maintenance_{bucket_, author(1)};
};

TEST_F(RestoreTest, GivesBackEveryTxid) {
  append_many(*leader_, 40);
  compact(1, 1, 10, 0);
  compact(1, 11, 20, 0);
  compact(2, 1, 20, 1);
  snapshot();
  append_many(*leader_, 10);
  for (std::uint64_t txid = 1; txid <= 50; ++txid) {
    const auto report = restore_to(RestoreTarget::at(Txid(txid)));
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->txid, Txid(txid));
    EXPECT_EQ(restored(), model_.state(Txid(txid))) << txid;
  }
  const auto latest = restore_to(RestoreTarget::latest());
  ASSERT_TRUE(latest);
  EXPECT_EQ(latest->checksum, model_.checksum());
  EXPECT_EQ(latest->page_count, model_.page_count());
}

TEST_F(RestoreTest, ReportsProgressToTheEnd) {
  append_many(*leader_, 5);
  RestoreProgress last;
  ASSERT_TRUE(
      restore(context_, bucket_,
              {.output = directory_ / "out.db", .on_progress = [&last](const RestoreProgress& progress) {
                 EXPECT_LE(progress.bytes_done, progress.bytes_total);
                 last = progress;
               }}));
  EXPECT_EQ(last.objects_done, 5U);
  EXPECT_EQ(last.objects_total, 5U);
  EXPECT_EQ(last.bytes_done, last.bytes_total);
}

TEST_F(RestoreTest, DoesNotReplaceAFileUnasked) {
  append_many(*leader_, 1);
  ASSERT_TRUE(base::write_file_durably(directory_ / "out.db", base::as_bytes("precious")));
  const auto refused = restore(context_, bucket_, {.output = directory_ / "out.db"});
  EXPECT_EQ(refused.error().code(), ErrorCode::already_exists);
  EXPECT_EQ(base::as_text(restored()), "precious");
}

TEST_F(RestoreTest, DoesNotReplaceAFileUnaskedThatAppearedMeanwhile) {
  append_many(*leader_, 3);
  RestoreOptions options{.output = directory_ / "out.db"};
  options.check = [&options](const std::filesystem::path&) {
    return base::write_file_durably(options.output, base::as_bytes("precious"));
  };
  const auto refused = restore(context_, bucket_, options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::already_exists);
  EXPECT_NE(refused.error().message().find("--force"), std::string::npos) << refused.error().message();
  EXPECT_EQ(base::as_text(restored()), "precious");
  options.overwrite = true;
  ASSERT_TRUE(restore(context_, bucket_, options));
  EXPECT_EQ(restored(), model_.state(Txid(3)));
}

TEST_F(RestoreTest, ReplacesNoDatabaseThatWasWrittenToMeanwhile) {
  append_many(*leader_, 3);
  ASSERT_TRUE(base::write_file_durably(directory_ / "out.db", base::as_bytes("precious")));
  RestoreOptions options{.output = directory_ / "out.db", .overwrite = true};
  options.check = [this](const std::filesystem::path&) {
    return base::write_file_durably(directory_ / "out.db-wal", base::as_bytes("a commit"));
  };
  const auto refused = restore(context_, bucket_, options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::failed_precondition);
  EXPECT_EQ(base::as_text(restored()), "precious");
}

TEST_F(RestoreTest, LeavesNothingBehindWhenTheCheckFails) {
  append_many(*leader_, 3);
  const auto refused =
      restore(context_, bucket_,
              {.output = directory_ / "out.db", .check = [this](const std::filesystem::path& file) -> Status {
                 EXPECT_EQ(*base::read_file(file, 1 << 20), model_.state(Txid(3)));
                 return failure(ErrorCode::corrupt, "check", file.string(), "no");
               }});
  EXPECT_EQ(refused.error().code(), ErrorCode::corrupt);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(RestoreTest, Scenario12NoticesADamagedByteWhereverItIs) {
  append_many(*leader_, 2);
  const auto size = bucket_.info(context_, ObjectName::raw(Txid(2)))->size;
  for (std::size_t offset = 0; offset < size; offset += 7) {
    bucket_.damage(ObjectName::raw(Txid(2)), offset);
    EXPECT_EQ(restore_to(RestoreTarget::latest()).error().code(), ErrorCode::corrupt) << offset;
    bucket_.damage(ObjectName::raw(Txid(2)), offset);
  }
  EXPECT_TRUE(restore_to(RestoreTarget::latest()));
}

TEST_F(RestoreTest, NoticesAFileUnderTheWrongName) {
  append_many(*leader_, 1);
  const auto second = model_.commit(clock_.wall_time());
  ASSERT_TRUE(bucket_.put(context_, {.name = {1, Txid(2), Txid(3)}}, second));
  EXPECT_EQ(restore_to(RestoreTarget::latest()).error().code(), ErrorCode::corrupt);
}

TEST_F(RestoreTest, NamesTheObjectThatIsBadAndLeavesNothingBehind) {
  append_many(*leader_, 3);
  std::vector<std::string> bad;
  RestoreOptions options{.output = directory_ / "out.db", .overwrite = true};
  options.on_bad = [&](const Object& object, const Error&) { bad.push_back(to_string(object.name)); };
  const auto put = bucket_.put(context_, {.name = {1, Txid(4), Txid(5)}}, model_.commit(clock_.wall_time()));
  ASSERT_TRUE(put);
  const auto refused = restore(context_, bucket_, options);
  EXPECT_EQ(refused.error().code(), ErrorCode::corrupt);
  EXPECT_EQ(bad, std::vector<std::string>{to_string(put->name)});
  EXPECT_FALSE(std::filesystem::exists(options.output)) << "nothing half restored is left";
}

TEST_F(RestoreTest, NoticesADatabaseThatIsNotTheOneTheLogMeans) {
  append_many(*leader_, 1);
  ASSERT_TRUE(bucket_.put(context_,
                          {.name = ObjectName::raw(Txid(2)), .author = author(1), .checksum = Checksum(42)},
                          model_.commit(clock_.wall_time())));
  const auto refused = restore_to(RestoreTarget::latest());
  EXPECT_EQ(refused.error().code(), ErrorCode::corrupt);
  EXPECT_NE(refused.error().message().find("checksum"), std::string::npos);
}

TEST_F(RestoreTest, PlansAgainWhenObjectsVanishMeanwhile) {
  append_many(*leader_, 30);
  std::size_t reads = 0;
  bucket_.before_get([&](const Object& object) {
    if (++reads != 12 || object.name.level != 0) return;
    // In the middle of the restore compaction and retention come by.
    compact(1, 1, 25, 0);
    for (std::uint64_t txid = 1; txid <= 25; ++txid) {
      const auto removed = bucket_.info(context_, ObjectName::raw(Txid(txid)));
      ASSERT_TRUE(bucket_.remove(context_, *removed));
    }
  });
  const auto report = restore_to(RestoreTarget::latest());
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_GE(report->replans, 1);
  EXPECT_EQ(restored(), model_.state(Txid(30)));
}

TEST_F(RestoreTest, GoesAroundAnObjectWhoseBytesAreLost) {
  append_many(*leader_, 10);
  compact(1, 1, 5, 0);
  const auto lost = bucket_.info(context_, {1, Txid(1), Txid(5)});
  // Still listed by an old view, but gone.
  bucket_.before_get([&](const Object& object) {
    if (object.name == lost->name) static_cast<void>(bucket_.remove(context_, *lost));
  });
  const auto report = restore_to(RestoreTarget::latest());
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(restored(), model_.state(Txid(10)));
}

TEST_F(RestoreTest, GivesUpWhenObjectsKeepVanishing) {
  append_many(*leader_, 30);
  bucket_.before_get([&](const Object& object) {
    static_cast<void>(bucket_.remove(context_, *bucket_.info(context_, object.name)));
  });
  EXPECT_FALSE(restore(context_, bucket_, {.output = directory_ / "out.db", .replans_max = 3}));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(RestoreTest, EndsWhenCancelled) {
  append_many(*leader_, 10);
  const Context cancelled = context_.with_cancel();
  bucket_.before_get([&](const Object& object) {
    if (object.name.max == Txid(5)) cancelled.cancel();
  });
  const auto report = restore(cancelled, bucket_, {.output = directory_ / "out.db"});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), ErrorCode::cancelled);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

}  // namespace
}  // namespace litecluster::log
