"""Disks of a test's own, which it can fill: file systems in image files, mounted where nobody else sees them."""
import contextlib
import ctypes
import errno
import os
import subprocess

CLONE_NEWNS = 0x00020000
MEBIBYTE = 1 << 20


def _run(*arguments):
    subprocess.run([str(argument) for argument in arguments], check=True, capture_output=True, text=True)


def why_not():
    """Why there can be none here; empty when there can."""
    try:
        _run("unshare", "-m", "sh", "-c", "d=$(mktemp -d) && truncate -s 16M $d/i && mkfs.ext4 -q -F $d/i && mkdir $d/m && "
             "mount -o loop $d/i $d/m && umount $d/m && rm -r $d")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no file systems in image files: {error}"
    return ""


def enter_mount_namespace():
    """What this process mounts from here on is gone when it and its children are. Call it while it has one thread."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _run("mount", "--make-rprivate", "/")


class Disk:
    def __init__(self, image, mount_point, mebibytes=2048):
        self.mount_point, self.filler = mount_point, mount_point / "filler"
        with open(image, "wb") as file:
            file.truncate(mebibytes * MEBIBYTE)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        mount_point.mkdir(parents=True, exist_ok=True)
        _run("mount", "-o", "loop", image, mount_point)

    def fill(self):
        """Until not one more block can be written."""
        with open(self.filler, "ab") as file:
            piece = 256 * MEBIBYTE
            while piece >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 4

    def free(self):
        with contextlib.suppress(FileNotFoundError):
            self.filler.unlink()

    def close(self):
        _run("umount", "-l", self.mount_point)
