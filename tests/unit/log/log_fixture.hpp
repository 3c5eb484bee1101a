// A fake bucket, a model database and a clock that stands still, for the tests of this layer.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/clock.hpp"
#include "log/appender.hpp"
#include "log/restore.hpp"
#include "support/fake_object_bucket.hpp"
#include "support/model_database.hpp"
#include "support/temporary_directory.hpp"
#include "unit/log/make_object.hpp"

namespace litecluster::log::test {

class ManualClock final : public base::Clock {
 public:
  [[nodiscard]] base::BootTime boot_time() const override { return boot_; }
  [[nodiscard]] base::WallTime wall_time() const override { return wall_; }
  void advance(std::chrono::milliseconds duration) {
    boot_ += duration;
    wall_ += duration;
  }

 private:
  base::BootTime boot_{};
  base::WallTime wall_ = start_time;
};

class LogTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<Appender> make_appender(std::uint64_t epoch, std::string node = "node-1") {
    return std::make_unique<Appender>(bucket_, author(epoch, std::move(node)), read_end_by_listing(bucket_));
  }

  /// Commits one transaction of the model and appends it.
  Result<Object> append_next(Appender& appender) {
    clock_.advance(std::chrono::milliseconds(500));
    const bool first = model_.txid().is_zero();
    const auto before = first ? std::nullopt : std::optional(model_.checksum());
    const auto bytes = model_.commit(clock_.wall_time());
    return appender.append(context_, {.payload = bytes, .pre_apply = before, .checksum = model_.checksum()});
  }

  void append_many(Appender& appender, int count) {
    for (int index = 0; index < count; ++index) {
      const auto appended = append_next(appender);
      ASSERT_TRUE(appended) << appended.error().message();
    }
  }

  Result<RestoreReport> restore_to(RestoreTarget target, const std::string& file = "out.db") {
    return restore(context_, bucket_, {.output = directory_ / file, .target = target, .overwrite = true});
  }

  [[nodiscard]] base::Bytes restored(const std::string& file = "out.db") const {
    return base::read_file(directory_ / file, 1 << 30).value_or(base::Bytes());
  }

  const Context context_ = Context::background().with_timeout(std::chrono::seconds(60));
  litecluster::test::TemporaryDirectory directory_;
  litecluster::test::FakeObjectBucket bucket_;
  litecluster::test::ModelDatabase model_;
  ManualClock clock_;
};

}  // namespace litecluster::log::test
