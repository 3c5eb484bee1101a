// Checksums of pages and, out of them, of a database.
//
// The checksum of a database is that of no pages (Checksum's default), toggled with the checksum of each page
// except the lock page. Order does not matter, so a change of one page is: toggle the old page out, the new
// in.
//
// It is linear: equal changes of two pages cancel each other out, such as the same flag set in two rows that
// lie alike in their pages. Applied to what is known to be the state before, it finds every damage that is
// not made to deceive it; but that two databases of several pages have the same one does not prove that they
// are equal when one may hold commits that the other lacks.
#pragma once

#include <litecluster/types.hpp>

#include "base/bytes.hpp"

namespace litecluster::ltx {

/// CRC-64 of the page number (u32 big-endian) and the page, with bit 63 set. Pure; thread-safe.
[[nodiscard]] Checksum page_checksum(PageNo number, base::ByteView page);

}  // namespace litecluster::ltx
