// A page of a database as it is handed around.
#pragma once

#include <litecluster/types.hpp>

#include "base/bytes.hpp"

namespace litecluster::ltx {

/// `bytes` belongs to whoever handed it out and says how long it lasts.
struct Page {
  PageNo number;
  base::ByteView bytes;
};

}  // namespace litecluster::ltx
