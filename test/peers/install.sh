#!/usr/bin/env bash
# Installs the programs that the interoperability tests in this folder use as
# peers: other tools that read and write container images. Everything comes
# from Debian's own packages (written for Debian 12, run as root).
#
#   bash test/peers/install.sh          install what is missing
#   bash test/peers/install.sh --check  only say what is there; 1 if any is missing
#
# It may be run again at any time; when nothing is missing it asks no package
# mirror and takes under a second. It starts no service. Apart from the
# packages it writes only these, each only when it is absent:
#   /etc/containers/policy.json   "accept any image": without it skopeo, podman
#                                 and buildah refuse every transfer
#   /etc/containers/storage.conf  the overlay driver where this kernel can mount
#                                 overlay under /var/lib/containers, else vfs
#                                 (left alone when that storage is already in use)
set -euo pipefail

# command it brings : Debian package
PEERS=(
  skopeo:skopeo
  umoci:umoci
  podman:podman
  buildah:buildah
  docker-registry:docker-registry
  runc:runc
  crun:crun
  fuse-overlayfs:fuse-overlayfs
  bsdtar:libarchive-tools
  tar:tar
  gzip:gzip
  zstd:zstd
  pigz:pigz
  xz:xz-utils
  mtree:mtree-netbsd
  setfattr:attr
  setfacl:acl
  setcap:libcap2-bin
  python3:python3
  openssl:openssl
  busybox:busybox-static
  debootstrap:debootstrap
)
# Packages without a command on PATH that the ones above only recommend.
#   netavark, aardvark-dns: podman's network backend; podman stops at start-up
#     when it finds none
#   conmon: podman's container monitor
#   ca-certificates: the TLS tests build on its bundle
LIBRARIES=(netavark aardvark-dns conmon ca-certificates)

# Debian keeps some of these in sbin, which is not on every PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf 'peers: %s\n' "$*"; }

wanted=()
for pair in "${PEERS[@]}"; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || wanted+=("${pair##*:}")
done
# One call for them all; dpkg-query complains about the ones it does not know.
installed="$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${LIBRARIES[@]}" 2>/dev/null || true)"
for package in "${LIBRARIES[@]}"; do
  grep -qx "$package installed" <<<"$installed" || wanted+=("$package")
done

if [[ "${1:-}" == --check ]]; then
  if ((${#wanted[@]})); then
    say "missing packages: ${wanted[*]}"
    exit 1
  fi
  say "all ${#PEERS[@]} peers are there"
  exit 0
fi

if ((${#wanted[@]})); then
  if [[ "$(id -u)" != 0 ]]; then
    say "run as root to install: ${wanted[*]}" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  say "installing ${wanted[*]}"

  # docker-registry's package would start a registry on 0.0.0.0:5000. Only the
  # program is wanted: a policy-rc.d that says no keeps services down while the
  # packages are set up. One that is already there is left as it is.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 0755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  log="$(mktemp)"
  apt() {
    apt-get -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
      -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
      -y -q "$@" >"$log" 2>&1 </dev/null
  }
  # The package lists may be absent (a bare image) or stale: fetch them once,
  # and go on without when that fails, since the old ones may still do.
  apt update || say "apt-get update failed, going on with the lists that are there"
  if ! apt install --no-install-recommends "${wanted[@]}"; then
    cat "$log" >&2
    say "apt-get install failed (see above)" >&2
    exit 1
  fi
  rm -f "$log"
fi

if [[ "$(id -u)" == 0 ]]; then
  if [[ ! -e /etc/containers/policy.json ]]; then
    mkdir -p /etc/containers
    printf '%s\n' '{ "default": [{ "type": "insecureAcceptAnything" }] }' >/etc/containers/policy.json
    say 'wrote /etc/containers/policy.json'
  fi
  # A storage directory that was written with one driver cannot be read with
  # another, so the choice is made once, before anything is stored.
  if [[ ! -e /etc/containers/storage.conf && ! -e /var/lib/containers/storage/libpod &&
    ! -e /var/lib/containers/storage/storage.lock ]]; then
    mkdir -p /etc/containers /var/lib/containers
    try="$(mktemp -d /var/lib/containers/overlay-try.XXXXXX)"
    mkdir "$try/lower" "$try/upper" "$try/work" "$try/merged"
    driver=vfs
    if mount -t overlay overlay \
      -o "lowerdir=$try/lower,upperdir=$try/upper,workdir=$try/work" "$try/merged" 2>/dev/null; then
      umount "$try/merged"
      driver=overlay
    fi
    rm -rf "$try"
    printf '[storage]\ndriver = "%s"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' \
      "$driver" >/etc/containers/storage.conf
    say "wrote /etc/containers/storage.conf (driver $driver)"
  fi
fi

missing=()
for pair in "${PEERS[@]}"; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair%%:*}")
done
if ((${#missing[@]})); then
  say "still missing: ${missing[*]}" >&2
  exit 1
fi
say "ready: ${#PEERS[@]} peers are there"
