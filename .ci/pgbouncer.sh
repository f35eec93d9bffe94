#!/usr/bin/env bash
# Unpacks PgBouncer before and after 1.21, the release that keeps the prepared statements of clients
# apart, from Debian's packages into a folder, and prints the paths of both launchers, separated by a
# colon, for MLAPI_TEST_PGBOUNCERS. Nothing is installed. A release that cannot be had is left out.
set -uo pipefail
folder=$(realpath -m "${1:?usage: pgbouncer.sh FOLDER}")
packages="pgbouncer libc6 libc-ares2 libcares2 libevent-2.1-7 libevent-2.1-7t64 libssl3 libssl3t64
    libpam0g libsystemd0 libcap2 libaudit1 libcap-ng0 libldap2 libsasl2-2 libzstd1 zlib1g liblzma5
    liblz4-1 libgcrypt20 libgpg-error0"

unpack() {
    local release=$1 home="$folder/$1" loader
    mkdir -p "$home"/{lists/partial,cache/archives/partial,debs,root}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" \
        >"$home/sources.list"
    local options=(-qq -o "Dir::Etc::sourcelist=$home/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$home/lists" -o "Dir::Cache=$home/cache" -o APT::Sandbox::User=root
        # Without the packages that this machine has, which the release may not.
        -o Dir::State::status=/dev/null)
    apt-get "${options[@]}" update || return 1
    cd "$home/debs" || return 1
    # A name that this release does not have is no error. One call, since each reads all lists.
    apt-cache "${options[@]}" pkgnames | grep -Fx "$(tr -s ' ' '\n' <<<"$packages")" |
        xargs apt-get "${options[@]}" download || return 1
    for archive in *.deb; do dpkg -x "$archive" "$home/root" || return 1; done
    loader=$(find "$home/root" -name 'ld-linux-*.so.*' | head -1)
    cat >"$home/pgbouncer" <<LAUNCHER
#!/bin/sh
exec "$loader" --library-path "$(find "$home/root" -type d -path '*lib/*-linux-gnu' | paste -sd:)" \
    "$home/root/usr/sbin/pgbouncer" "\$@"
LAUNCHER
    chmod +x "$home/pgbouncer"
    "$home/pgbouncer" --version >/dev/null || return 1
    echo "$home/pgbouncer"
}

command -v apt-get >/dev/null || exit 0
# The archive that this machine uses itself.
mirror=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" { print $2; exit }')
[ -n "$mirror" ] || mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -1)
[ -n "$mirror" ] || exit 0
for release in bookworm trixie; do (unpack "$release"); done | paste -sd:
