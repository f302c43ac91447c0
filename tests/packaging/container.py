"""A Debian system booted in a container: made once by debootstrap, then run from memory."""
import os
import platform
import re
import shutil
import subprocess
import unittest

import package

ENVIRONMENT = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root",
               "DEBIAN_FRONTEND=noninteractive")


def skip(why):
    raise unittest.SkipTest("no container: " + why)


def mirror():
    """The first mirror that apt uses; Debian's own where it names none."""
    for folder, _, names in os.walk("/etc/apt"):
        for name in sorted(names):
            if not name.endswith((".sources", ".list")):
                continue
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found = re.search(r"(?m)^(?:URIs:|deb(?: \[.*?\])?) *(\S*/debian/?)\b", file.read())
            if found:
                return found.group(1)
    return "http://deb.debian.org/debian"


def dependencies(deb):
    """Names of the packages that a .deb depends on; virtual ones by who provides them here."""
    depends = package.run("dpkg-deb", "-f", deb, "Depends").stdout
    names = re.findall(r"(?:^|, )([a-z0-9.+-]+)", depends)
    providers = {}
    for line in package.run("dpkg-query", "-W", "-f=${Package}\t${Provides}\n").stdout.splitlines():
        name, provides = line.split("\t")
        providers.update((virtual.split()[0], name) for virtual in provides.split(", ") if virtual)
    real = {line.split()[0] for line in
            package.run("dpkg-query", "-W", "-f=${Package}\n").stdout.splitlines()}
    return sorted(name if name in real else providers[name] for name in names)


def make_system(deb):
    """The folder of a minimal Debian that has what the package depends on, unless it is there."""
    system = os.path.join(package.BUILD, "packaging", "system")
    done = os.path.join(package.BUILD, "packaging", "made-for")
    libraries = dependencies(deb)
    if os.path.exists(done):
        with open(done, encoding="utf-8") as file:
            if file.read().split() == libraries:
                return system
    shutil.rmtree(system, ignore_errors=True)
    os.makedirs(system)
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    include = ",".join(["systemd", "systemd-sysv", "dbus", *libraries])
    made = package.run("debootstrap", "--variant=minbase", "--include=" + include, codename, system,
                       mirror(), check=False, timeout_s=600)
    if made.returncode != 0:
        skip("debootstrap: " + " ".join((made.stdout + made.stderr).split()[-20:]))
    # A socket to the host's resolver is of no use without a network.
    if os.path.islink(os.path.join(system, "etc/resolv.conf")):
        os.remove(os.path.join(system, "etc/resolv.conf"))
    with open(done, "w", encoding="utf-8") as file:
        file.write(" ".join(libraries))
    return system


class Container:
    """Booted over `system`, which stays as it is: what the container writes is in memory."""

    def __init__(self, system, packages):
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--directory=" + system, "--volatile=overlay", "--boot",
             "--private-network", "--register=no", "--keep-unit", "--console=pipe",
             "--machine=accrete-test", f"--bind-ro={packages}:/packages"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)
        self.leader = None

    def boot(self):
        """Wait until all units are up. Raises SkipTest where a container cannot boot."""
        def up():
            if self.process.poll() is not None:
                said = self.process.stdout.read().decode(errors="replace")
                skip("systemd-nspawn: " + " ".join(said.split()[-20:]))
            children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True,
                                      text=True, check=False).stdout.split()
            if not children:
                return False
            self.leader = children[0]
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            return state in ("running", "degraded")

        try:
            package.await_true("the container is up", up)
        except AssertionError as late:
            self.end()
            skip(str(late))

    def run(self, *command, check=True, text=None):
        """A command inside; its input is `text`."""
        whole = ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-p", "-n", *ENVIRONMENT,
                 *map(str, command)]
        done = subprocess.run(whole, input=text or "", capture_output=True, text=True, timeout=120,
                              check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{command} exits with {done.returncode}:\n{done.stdout}"
                                 f"\n{done.stderr}")
        return done

    def shell(self, script, check=True):
        return self.run("sh", "-c", script, check=check)

    def write(self, path, text):
        self.run("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}", text=text)

    def read(self, path):
        return self.run("cat", path).stdout

    def exists(self, path):
        """Also a link that leads nowhere is there."""
        return self.shell(f"[ -e {path} ] || [ -L {path} ]", check=False).returncode == 0

    def end(self):
        if self.process.poll() is None and self.leader:
            self.run("systemctl", "poweroff", "--force", check=False)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
