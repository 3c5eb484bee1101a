// ltx_diff OLD NEW TXID ENCODING OUT: the pages of database NEW that differ from database OLD, as an LTX
// file. What a leader gets from the WAL, made from two copies of a database; for tests.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/clock.hpp"
#include "ltx/database_file.hpp"
#include "ltx/encoder.hpp"

namespace {

using namespace litecluster;  // NOLINT: a program of one file

Status write_difference(const ltx::DatabaseFile& before, const ltx::DatabaseFile& after, Txid txid,
                        ltx::PageEncoding encoding, const std::string& path) {
  auto file = base::AtomicFile::create(path);
  if (!file) return std::unexpected(file.error());
  ltx::FileSink sink(*file);
  ltx::Encoder encoder(encoding);
  ltx::Header header;
  header.page_size = after.page_size();
  header.commit = after.page_count();
  header.min_txid = txid;
  header.max_txid = txid;
  header.timestamp = base::system_clock().wall_time();
  header.wal_offset = ltx::wal_offset_first;
  if (auto begun = encoder.begin(header, sink); !begun) return begun;
  base::Bytes old_page(before.page_size());
  const bool comparable = before.page_size() == after.page_size();
  const auto done = ltx::for_each_page(after, Context::background(), [&](const ltx::Page& page) -> Status {
    if (comparable && page.number.value() <= before.page_count()) {
      if (auto read = before.read_page(page.number, old_page); !read) return read;
      if (std::equal(page.bytes.begin(), page.bytes.end(), old_page.begin())) return {};
    }
    return encoder.add_page(page.number, page.bytes);
  });
  if (!done) return done;
  if (const auto info = encoder.finish(); !info) return std::unexpected(info.error());
  if (auto flushed = sink.flush(); !flushed) return flushed;
  return file->commit();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: ltx_diff OLD NEW TXID ENCODING OUT\n");
    return 2;
  }
  const auto before = ltx::DatabaseFile::open(argv[1]);
  const auto after = ltx::DatabaseFile::open(argv[2]);
  const auto txid = parse_txid(argv[3]);
  if (!before || !after || !txid) {
    std::fprintf(stderr, "ltx_diff: cannot read the arguments\n");
    return 1;
  }
  const auto encoding = std::string(argv[4]) == "frame" ? ltx::PageEncoding::frame : ltx::PageEncoding::block;
  const auto status = write_difference(*before, *after, *txid, encoding, argv[5]);
  if (!status) std::fprintf(stderr, "ltx_diff: %s\n", status.error().message().c_str());
  return status ? 0 : 1;
}
