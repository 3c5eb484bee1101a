"""What `cmake --install` lays down is enough by itself: the example of the library is built against it with CMake and with
pkg-config, and the installed program runs the demo and names its own files only.
"""
import os
import pathlib
import subprocess

from cluster import BUILD, NatsServers, Process, scratch, wait_until

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def run(*command, timeout=170, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def check_example(program, directory, name):
    nats = NatsServers(directory / f"nats-{name}").start()
    office = Process(name, [program, "tickets", name, nats.url, directory / f"{name}.db"], directory / f"{name}.log")
    try:
        office.start()
        wait_until(lambda: "sold 5\n" in office.log.read_text(), 30, f"{program} sells tickets")
        assert office.stop() == 0
    finally:
        office.kill()
        nats.stop()


def main():
    with scratch() as directory:
        prefix = directory / "prefix"
        run("cmake", "--install", BUILD, "--prefix", prefix)
        library = next(prefix.glob("**/liblitecluster.a"))

        run("cmake", "-S", SOURCE / "examples" / "library", "-B", directory / "example", "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_CXX_COMPILER=g++")
        run("cmake", "--build", directory / "example")
        check_example(directory / "example" / "litecluster-example-library", directory, "by-cmake")

        environment = {**os.environ, "PKG_CONFIG_PATH": str(library.parent / "pkgconfig")}
        flags = run("pkg-config", "--cflags", "--libs", "litecluster", env=environment).split()
        run("g++", SOURCE / "examples" / "library" / "ticket_office.cpp", "-o", directory / "by-pkg-config", *flags)
        check_example(directory / "by-pkg-config", directory, "by-pkg-config")

        unit = prefix / "lib" / "systemd" / "system" / "litecluster@.service"
        assert "Type=notify" in unit.read_text(), "the unit is installed"

        temporary = directory / "demo"
        temporary.mkdir()
        told = run(prefix / "bin" / "litecluster", "demo", "--directory", temporary)
        assert "none is lost" in told, told
        assert list(temporary.iterdir()) == [], "the demo leaves nothing behind"
        print(told)


if __name__ == "__main__":
    main()
