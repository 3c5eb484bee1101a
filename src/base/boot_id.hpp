// Which boot of the machine this is: a value that the kernel draws at random each time it starts.
//
// Whether a power failure can lie between two moments: when both show the same boot, everything that was
// written before the second is there, synced or not.
#pragma once

#include <array>
#include <cstddef>

#include <litecluster/error.hpp>

namespace litecluster::base {

using BootId = std::array<std::byte, 16>;

/// random(4), "boot_id". Errors: not_found, io, internal (what stands there is no boot id).
[[nodiscard]] Result<BootId> read_boot_id();

}  // namespace litecluster::base
