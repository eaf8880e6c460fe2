# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# For recipes of Go programs: which Go, and how a main package is built that is published only as a module. `go install`
# refuses modules with replace lines, so each is required by a module of our own, whose tools.go imports the main package.
# No checksum database is asked: whoever has only a module proxy has none.

# Debian 12's own Go is 1.19; that of Debian 13 runs there, too, unpacked beside the system.
need_go() {
	local version
	version=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
	if [[ ${version:-0} -lt 24 ]]; then
		if [[ ! -x $CACHE/go-1.24/bin/go ]]; then
			mkdir -p deb
			"$ROOT/scripts/deps" --fetch trixie deb golang-1.24-go golang-1.24-src
			rm -rf "$CACHE/go-1.24" && mkdir -p unpacked
			for deb in deb/*.deb; do dpkg -x "$deb" unpacked; done
			# Its folders are links from usr/lib/go-1.24 to usr/share/go-1.24: made whole here.
			mkdir -p "$CACHE/go-1.24.part"
			cp -R unpacked/usr/share/go-1.24/. "$CACHE/go-1.24.part"
			cp -R --remove-destination unpacked/usr/lib/go-1.24/. "$CACHE/go-1.24.part" 2>/dev/null || true
			rm -rf deb unpacked
			mv "$CACHE/go-1.24.part" "$CACHE/go-1.24"
		fi
		export GOROOT=$CACHE/go-1.24 PATH=$CACHE/go-1.24/bin:$PATH
	fi
	export CGO_ENABLED=0 GOSUMDB=off GOTOOLCHAIN=local GO111MODULE=on GOWORK=off
	export GOFLAGS='-mod=mod -modcacherw -buildvcs=false'
	export GOPATH=$CACHE/gopath GOMODCACHE=$CACHE/gopath/mod GOCACHE=$CACHE/go-build
	go version
}

# go_program PACKAGE NAME [LDFLAGS]: into $OUT/NAME.
go_program() {
	go build -p 2 -trimpath -ldflags "-s -w ${3:-}" -o "$OUT/$2" "$1"
}
