#!/bin/bash
# Runs in the guest of run.sh at each of its two starts, and tells what came of it on the second serial line.
cd /
export HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_PAGER=cat SYSTEMD_COLORS=0
echo >>/var/lib/starts
starts=$(wc -l </var/lib/starts)
parts=$(cat /payload/parts) tests=$(cat /payload/tests)

# passed runs a test program in a control group of its own, handed over to its user: passed NAME USER PROGRAM ARGUMENT...
# It prints what failed, and what matters of the rest.
passed() {
	local name=$1 user=$2 program=$3
	shift 3
	mkdir -p /data/$user && chown $user /data/$user
	systemd-run --quiet --collect --pipe --wait --uid=$user --property=Delegate=yes --property=LimitNOFILE=65536 \
		--property=WorkingDirectory=/payload/$program --setenv=TMPDIR=/data/$user --setenv=HOME=/data/$user \
		/payload/$program.test -test.v -test.timeout=40m "$@" </dev/null >/var/log/run 2>&1
	local rc=$?
	echo "$name as $user: $(grep -c -e '--- PASS' /var/log/run) passed, $(grep -c -e '--- SKIP' /var/log/run) skipped, $(grep -c -e '--- FAIL' /var/log/run) failed, exit $rc"
	if [ $rc != 0 ]; then
		grep -e '--- FAIL' /var/log/run
		grep -v -e '=== ' -e '--- ' -e level= -e ' WARN ' -e ' INFO ' -e ' escape.go:' /var/log/run | tail -n 80
		echo >>/var/lib/failed
	fi
	return $rc
}

# within tells whether a number of a benchmark lies where it must: within NAME LEAST MOST.
within() {
	awk -v name="$1" -v least=$2 -v most=$3 '{for (i = 2; i <= NF; i++) if ($i == name) {
		n++; ok = $(i-1) >= least && $(i-1) <= most; if (!ok) bad++
		print "  " $(i-1) " " name " (" least " to " most "): " $1 (ok ? "" : " FAILED")}}
		END {if (!n) print "  no " name " FAILED"; exit bad || !n}' /var/log/kept || echo >>/var/lib/failed
}

if [ $starts = 1 ]; then
	echo "guest: $(uname -r), $(systemctl --version | head -n 1), control groups $(stat -fc %T /sys/fs/cgroup) with $(cat /sys/fs/cgroup/cgroup.controllers), security modules $(cat /sys/kernel/security/lsm)"
	install -m 755 /payload/kith /usr/local/bin/kith
	chmod 1777 /data
	for part in $parts; do case $part in
	groups)
		for user in root ann; do passed 'control groups' $user cgroup; done ;;
	attacks)
		for user in root ann; do
			passed 'attacks on the sandbox' $user sandbox
			grep -h -o -e '[0-9]* escapes tried' -e '[0-9]* attacks in .*held by.*' /var/log/run | sort | uniq -c
		done ;;
	caps)
		for user in root ann; do
			passed 'caps under stress' $user sandbox -test.run='^$' -test.bench=CapError -test.benchtime=1x
			grep 'kernel' /var/log/run | grep '%' >/var/log/kept
			# Nothing may pass its cap by more; that it gets less may be the emulator's doing.
			for at in 25 50 100; do within %-CPU-error-at-$at -50 10; done
			within %-IO-error -99 15
			within %-drive-write-error -90 15
			within %-drive-read-error -90 15
		done ;;
	service)
		KITH_GUEST=first /payload/service.test -test.v -test.run="$tests" -test.timeout=60m 2>&1 || echo >>/var/lib/failed ;;
	esac; done
	if [[ $parts == *service* && TestGuestSystem =~ $tests ]]; then # it ends with the machine's start
		systemctl reboot
		exit
	fi
elif [ $starts = 2 ]; then
	echo 'guest: started again'
	KITH_GUEST=again /payload/service.test -test.v -test.run='^TestGuestAgain' -test.timeout=60m 2>&1 || echo >>/var/lib/failed
fi
[ $starts -le 2 ] || echo >>/var/lib/failed
left=$(find /sys/fs/cgroup -name 'kith-[0-9n]*' -print)
[ -z "$left" ] || { echo "control groups are left: $left"; echo >>/var/lib/failed; }
echo "guest: exit $([ -e /var/lib/failed ] && wc -l </var/lib/failed || echo 0)"
sleep 1
systemctl poweroff
