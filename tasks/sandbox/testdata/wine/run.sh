#!/bin/sh
# Runs the tests of the Windows sandbox that an emulation can: runners start with their token, work, keep the limits that
# Wine knows, and die. Wine knows no limit of a job's memory and no labels; what it lacks the grade says.
set -eu
cd "$(dirname "$0")/../.."
for tool in wine x86_64-w64-mingw32-gcc; do
	command -v $tool >/dev/null || { echo "$tool is missing: apt-get install wine wine64 gcc-mingw-w64-x86-64-win32"; exit 1; }
done
dir=$(mktemp -d)
export WINEPREFIX="$dir/prefix" WINEDLLOVERRIDES="mscoree,mshtml=" WINEDEBUG=-all
trap 'wineserver -k 2>/dev/null || /usr/lib/wine/wineserver -k || true; rm -rf "$dir"' EXIT
x86_64-w64-mingw32-gcc -shared -O2 -s -o "$dir/bcryptprimitives.dll" testdata/wine/prng.c -ladvapi32
wine wineboot -i >/dev/null 2>&1
cp "$dir/bcryptprimitives.dll" "$WINEPREFIX/drive_c/windows/system32/"
GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go test -c -o "$dir/sandbox.test.exe" .
wine "$dir/sandbox.test.exe" -test.v -test.run '^Test(Windows|Environment|CommandLine|ContainerName|Launch|Rights|Container|Reach)$'
