// Scenario 3: a snapshot of a database under writes and checkpoints is the state at exactly its TXID.
#include <gtest/gtest.h>

#include <thread>

#include "capture_fixture.hpp"
#include "ltx/decoder.hpp"

namespace litecluster::db {
namespace {

TEST(Scenario3Snapshot, IsTheStateAtExactlyItsTxidWhileWritersGoOn) {
  const test::TemporaryDirectory directory;
  const std::string path = (directory / "app.db").string();
  {
    Application application(path,
                            "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT);"
                            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000)"
                            "INSERT INTO t(x) SELECT hex(randomblob(400)) FROM c;");
  }
  DatabaseOptions options{.path = path};
  options.checkpoint.frames = 50;
  const auto database = attach(options);
  Shadow shadow;
  follow(*database, shadow);
  Process writer(CAPTURE_APPLICATION, {"writer", path, "5", "1000000", "40"});
  Process checkpointer(CAPTURE_APPLICATION, {"checkpointer", path, "RESTART", "2000"});
  for (int round = 0; round < 8; ++round) {
    auto opened = database->open_snapshot();
    // The writer may have got far ahead while this process waited for a processor.
    while (!opened && opened.error().code() == ErrorCode::failed_precondition) {
      follow(*database, shadow);
      ASSERT_FALSE(HasFatalFailure());
      opened = database->open_snapshot();
    }
    ASSERT_TRUE(opened) << opened.error().message();
    if (opened->captured) {
      shadow.apply(*opened->captured);
      ASSERT_TRUE(database->acknowledge(opened->captured->txid(), Epoch(1)));
    }
    ASSERT_EQ(opened->snapshot.position(), shadow.position());
    const base::Bytes expected = shadow.image();

    base::Bytes encoded;
    Status status;
    std::jthread reader([&, snapshot = std::move(opened->snapshot)] {
      ltx::Encoder encoder;
      ltx::BytesSink sink(encoded);
      if (auto done = snapshot.encode(encoder, sink); !done) status = std::unexpected(done.error());
    });
    for (int capture = 0; capture < 5; ++capture) {
      ASSERT_TRUE(database->wait_for_change(Context::background()));
      follow(*database, shadow);
      const auto report = database->checkpoint();
      ASSERT_TRUE(report) << report.error().message();
      for (const auto& captured : report->captured) shadow.apply(captured);
      ASSERT_FALSE(HasFatalFailure());
    }
    reader.join();
    ASSERT_TRUE(status) << status.error().message();
    ltx::MemorySource source(encoded, "snapshot");
    ltx::Decoder decoder(source, ltx::Acceptance::litestream);
    base::Bytes image;
    for (;;) {
      const auto page = decoder.next_page();
      ASSERT_TRUE(page) << page.error().message();
      if (!*page) break;
      base::append_bytes(image, (*page)->bytes);
    }
    ASSERT_TRUE(image == expected) << "round " << round;
  }
}

}  // namespace
}  // namespace litecluster::db
