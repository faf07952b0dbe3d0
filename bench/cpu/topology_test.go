package cpu

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"kith/bench"
)

// system writes the files of a Linux system with n logical processors. describe returns package, core, siblings and
// further files of one.
func system(n int, describe func(i int) (pkg, core, siblings string, more map[string]string)) fstest.MapFS {
	root := fstest.MapFS{}
	put := func(name, value string) { root[name] = &fstest.MapFile{Data: []byte(value + "\n")} }
	put(cpus+"/online", "0-"+strconv.Itoa(n-1))
	if n == 1 {
		put(cpus+"/online", "0")
	}
	for i := range n {
		pkg, core, siblings, more := describe(i)
		dir := cpus + "/cpu" + strconv.Itoa(i)
		put(dir+"/topology/physical_package_id", pkg)
		put(dir+"/topology/core_id", core)
		put(dir+"/topology/thread_siblings_list", siblings)
		for name, value := range more {
			put(dir+"/"+name, value)
		}
	}
	return root
}

func cache(index, level int, kind, size, shared string) map[string]string {
	dir := fmt.Sprintf("cache/index%d/", index)
	return map[string]string{dir + "level": strconv.Itoa(level), dir + "type": kind, dir + "size": size, dir + "shared_cpu_list": shared}
}

func join(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func TestTopology(t *testing.T) {
	tests := []struct {
		name string
		root fstest.MapFS
		want Topology
	}{
		{"one core", system(1, func(int) (string, string, string, map[string]string) {
			return "0", "0", "0", cache(0, 1, "Data", "32K", "0")
		}), Topology{Sockets: 1, Cores: 1, Threads: 1, L1d: 32 << 10}},
		{"128 threads of two sockets, four third caches each", system(128, func(i int) (string, string, string, map[string]string) {
			core := i % 64
			return strconv.Itoa(core / 32), strconv.Itoa(core % 32), fmt.Sprintf("%d,%d", core, core+64),
				join(cache(0, 1, "Data", "32K", strconv.Itoa(core)), cache(1, 1, "Instruction", "64K", strconv.Itoa(core)),
					cache(2, 2, "Unified", "512K", strconv.Itoa(core)), cache(3, 3, "Unified", "16M", strconv.Itoa(core/8)),
					map[string]string{"cpufreq/cpuinfo_max_freq": "4500000", "cpufreq/base_frequency": "3700000"})
		}), Topology{Sockets: 2, Cores: 64, Threads: 128, L1d: 32 << 10, L1i: 64 << 10, L2: 512 << 10, L3: 8 * 16 << 20, MaxHz: 4_500_000_000, BaseHz: 3_700_000_000}},
		{"fast and slow cores by capacity", system(6, func(i int) (string, string, string, map[string]string) {
			capacity := "1024"
			if i > 1 {
				capacity = "420"
			}
			return "0", strconv.Itoa(i), strconv.Itoa(i), map[string]string{"cpu_capacity": capacity}
		}), Topology{Sockets: 1, Cores: 6, Threads: 6, Performance: 2, Efficiency: 4}},
		{
			"container without /sys",
			fstest.MapFS{"proc/cpuinfo": {Data: []byte("processor\t: 0\nmodel name\t: AMD EPYC\nphysical id\t: 0\ncore id\t: 0\nflags\t: fpu hypervisor lm\n\nprocessor\t: 1\nphysical id\t: 0\ncore id\t: 0\n")}},
			Topology{Model: "AMD EPYC", Sockets: 1, Cores: 1, Threads: 2, Virtual: true},
		},
		{"nothing at all", fstest.MapFS{}, Topology{}},
		{"nonsense", fstest.MapFS{cpus + "/online": {Data: []byte("0-99999999999999999999")}, cpus + "/cpu0/cache/index0/size": {Data: []byte("-1K")}}, Topology{}},
	}
	for _, tt := range tests {
		if got := parseSystem(tt.root); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
	// Intel lists its two kinds of cores.
	root := system(12, func(i int) (string, string, string, map[string]string) {
		if i < 8 {
			return "0", strconv.Itoa(i / 2), fmt.Sprintf("%d-%d", i/2*2, i/2*2+1), nil
		}
		return "0", strconv.Itoa(i), strconv.Itoa(i), nil
	})
	root["sys/devices/cpu_core/cpus"] = &fstest.MapFile{Data: []byte("0-7\n")}
	root["sys/devices/cpu_atom/cpus"] = &fstest.MapFile{Data: []byte("8-11\n")}
	if got := parseSystem(root); got.Performance != 4 || got.Efficiency != 4 || got.Cores != 8 || got.Threads != 12 || got.SMT() != 0 {
		t.Errorf("hybrid: %+v", got)
	}
}

func TestReadHere(t *testing.T) {
	got := Read()
	if got.Threads < 1 {
		t.Errorf("this machine has %d processors", got.Threads)
	}
	d := Device(got, nil)
	if d.Part != bench.CPU || d.Fact("threads") == "" {
		t.Errorf("device %+v", d)
	}
}

func TestParseList(t *testing.T) {
	for s, want := range map[string]int{"": 0, "0": 1, "0-3": 4, "0-1,4,6-7": 5, "3-1": 0, "-1": 0, "x": 0, "0-16383": maxCPUs, "0-16384": 0, "0-16383,0": 0, "1,,2": 0} {
		if got := parseList(s); len(got) != want {
			t.Errorf("%q names %d processors, want %d", s, len(got), want)
		}
	}
}

// relation builds one entry of Windows' table.
func relation(kind uint32, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(8+len(body)))
	return append(b, body...)
}

func core(class byte, mask uint64) []byte {
	b := make([]byte, 40)
	b[1] = class
	binary.LittleEndian.PutUint16(b[22:], 1)
	binary.LittleEndian.PutUint64(b[24:], mask)
	return relation(relationCore, b)
}

func TestRelations(t *testing.T) {
	l3 := make([]byte, 60)
	l3[0] = 3
	binary.LittleEndian.PutUint32(l3[4:], 32<<20)
	var table []byte
	for _, e := range [][]byte{core(1, 0b11), core(1, 0b1100), core(0, 1<<4), core(0, 1<<5), relation(relationPackage, make([]byte, 40)), relation(relationCache, l3), relation(1, nil)} {
		table = append(table, e...)
	}
	want := Topology{Sockets: 1, Cores: 4, Threads: 6, Performance: 2, Efficiency: 2, L3: 32 << 20}
	if got := parseRelations(table, binary.LittleEndian); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzRelations(f *testing.F) {
	f.Add(core(1, 3))
	f.Add([]byte{0, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := parseRelations(b, binary.LittleEndian); got.Threads < 0 || got.Cores > len(b) {
			t.Errorf("%+v from %d bytes", got, len(b))
		}
	})
}

func FuzzCPUInfo(f *testing.F) {
	f.Add("0-3,8", "processor : 0\nmodel name : x\nphysical id : 1\ncore id : 2\n", "32K")
	f.Fuzz(func(t *testing.T, list, info, size string) {
		got := parseSystem(fstest.MapFS{cpus + "/online": {Data: []byte(list)}, "proc/cpuinfo": {Data: []byte(info)}, cpus + "/cpu0/cache/index0/size": {Data: []byte(size)}})
		if got.Threads < 0 || got.Threads > max(maxCPUs, strings.Count(info, "\n")+1) || bytesOf(size) < 0 {
			t.Errorf("%+v", got)
		}
	})
}
