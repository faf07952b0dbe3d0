package cpu

import "golang.org/x/sys/unix"

// Read reads the topology of this machine. It never fails: what cannot be found out is zero.
func Read() Topology {
	n := func(name string) int64 {
		if v, err := unix.SysctlUint64(name); err == nil {
			return int64(min(v, 1<<50))
		}
		v, err := unix.SysctlUint32(name)
		if err != nil {
			return 0
		}
		return int64(v)
	}
	model, _ := unix.Sysctl("machdep.cpu.brand_string") // empty on failure, as wanted
	t := Topology{
		Model: clip(model), Sockets: int(n("hw.packages")), Cores: int(n("hw.physicalcpu")), Threads: int(n("hw.logicalcpu")),
		L1d: n("hw.perflevel0.l1dcachesize"), L1i: n("hw.perflevel0.l1icachesize"), L2: n("hw.perflevel0.l2cachesize"), L3: n("hw.l3cachesize"),
		BaseHz: n("hw.cpufrequency"), MaxHz: n("hw.cpufrequency_max"), Virtual: n("kern.hv_vmm_present") == 1,
	}
	if n("hw.nperflevels") > 1 {
		t.Performance, t.Efficiency = int(n("hw.perflevel0.physicalcpu")), int(n("hw.perflevel1.physicalcpu"))
	}
	identify(&t)
	return t
}
