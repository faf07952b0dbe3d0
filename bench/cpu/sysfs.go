package cpu

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

const cpus = "sys/devices/system/cpu"

// parseSystem reads a Linux system's files below root: /sys where it is there, and /proc/cpuinfo for what is missing.
func parseSystem(root fs.FS) Topology {
	var t Topology
	online := parseList(text(root, cpus+"/online"))
	packages, cores := map[string]bool{}, map[string]bool{}
	caches := map[string]bool{}
	for _, n := range online {
		dir := path.Join(cpus, "cpu"+strconv.Itoa(n))
		pkg, core := text(root, dir+"/topology/physical_package_id"), text(root, dir+"/topology/core_id")
		if pkg == "" || core == "" {
			continue
		}
		packages[pkg] = true
		key := pkg + "/" + core
		if shared := text(root, dir+"/topology/thread_siblings_list"); shared != "" {
			key = shared // core numbers of two dies may be the same
		}
		cores[key] = true
		t.caches(root, dir, caches)
		t.MaxHz = max(t.MaxHz, number(text(root, dir+"/cpufreq/cpuinfo_max_freq"))*1000)
		t.BaseHz = max(t.BaseHz, number(text(root, dir+"/cpufreq/base_frequency"))*1000)
	}
	t.Threads, t.Sockets, t.Cores = len(online), len(packages), len(cores)
	t.hybrid(root, online)
	t.cpuinfo(string(read(root, "proc/cpuinfo")))
	t.Virtual = t.Virtual || text(root, "sys/hypervisor/type") != ""
	return t
}

// hybrid counts fast and slow cores: as Intel's systems list them, or by their capacity as on ARM.
func (t *Topology) hybrid(root fs.FS, online []int) {
	fast, slow := parseList(text(root, "sys/devices/cpu_core/cpus")), parseList(text(root, "sys/devices/cpu_atom/cpus"))
	if len(slow) == 0 {
		capacity := map[int]int64{}
		var most int64
		for _, n := range online {
			if c := number(text(root, path.Join(cpus, "cpu"+strconv.Itoa(n), "cpu_capacity"))); c > 0 {
				capacity[n] = c
				most = max(most, c)
			}
		}
		fast = nil
		for n, c := range capacity {
			if c*10 >= most*9 {
				fast = append(fast, n)
			} else {
				slow = append(slow, n)
			}
		}
	}
	if len(slow) == 0 || len(fast) == 0 {
		return
	}
	count := func(list []int) int {
		seen := map[string]bool{}
		for _, n := range list {
			key := text(root, path.Join(cpus, "cpu"+strconv.Itoa(n), "topology/thread_siblings_list"))
			if key == "" {
				key = strconv.Itoa(n)
			}
			seen[key] = true
		}
		return len(seen)
	}
	t.Performance, t.Efficiency = count(fast), count(slow)
}

// caches adds the caches of one logical processor that no other has brought in yet.
func (t *Topology) caches(root fs.FS, dir string, seen map[string]bool) {
	for i := range 8 {
		c := path.Join(dir, "cache", "index"+strconv.Itoa(i))
		level, kind := text(root, c+"/level"), text(root, c+"/type")
		size := bytesOf(text(root, c+"/size"))
		if level == "" || size == 0 {
			continue
		}
		switch {
		case level == "1" && kind == "Data":
			t.L1d = max(t.L1d, size)
		case level == "1" && kind == "Instruction":
			t.L1i = max(t.L1i, size)
		case level == "2":
			t.L2 = max(t.L2, size)
		case level == "3":
			if key := level + text(root, c+"/shared_cpu_list"); !seen[key] {
				seen[key] = true
				t.L3 += size
			}
		}
	}
}

// cpuinfo fills in from /proc/cpuinfo what /sys does not hold.
func (t *Topology) cpuinfo(data string) {
	threads := 0
	packages, cores := map[string]bool{}, map[string]bool{}
	pkg := ""
	for line := range strings.Lines(data) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "processor":
			threads++
		case "model name", "Hardware", "Model":
			if t.Model == "" {
				t.Model = clip(value)
			}
		case "physical id":
			pkg = value
			packages[pkg] = true
		case "core id":
			cores[pkg+"/"+value] = true
		case "flags":
			t.Virtual = t.Virtual || strings.Contains(" "+value+" ", " hypervisor ")
		}
	}
	fill := func(into *int, n int) {
		if *into == 0 {
			*into = n
		}
	}
	fill(&t.Threads, threads)
	fill(&t.Sockets, len(packages))
	fill(&t.Cores, len(cores))
}

const (
	maxFile = 1 << 20 // bytes of a system file that are read
	maxCPUs = 1 << 14
	maxName = 120
)

func read(root fs.FS, name string) []byte {
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	var b []byte
	buf := make([]byte, 32<<10)
	for len(b) < maxFile {
		n, err := f.Read(buf)
		b = append(b, buf[:n]...)
		if err != nil || n == 0 {
			break
		}
	}
	return b
}

func text(root fs.FS, name string) string { return strings.TrimSpace(string(read(root, name))) }

func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxName {
		return strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<50 {
		return 0
	}
	return n
}

// bytesOf reads a size like 512K or 32M.
func bytesOf(s string) int64 {
	shift := 0
	switch {
	case strings.HasSuffix(s, "K"):
		shift = 10
	case strings.HasSuffix(s, "M"):
		shift = 20
	}
	n := number(strings.TrimRight(s, "KM"))
	if n > 1<<40>>shift {
		return 0
	}
	return n << shift
}

// parseList reads a list like 0-3,8,10-11. What is no list, or names more processors than there can be, is empty.
func parseList(s string) []int {
	var out []int
	if s == "" {
		return nil
	}
	for item := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(item), "-")
		a, err := strconv.Atoi(first)
		b := a
		if isRange && err == nil {
			b, err = strconv.Atoi(last)
		}
		if err != nil || a < 0 || b < a || b >= maxCPUs || len(out)+b-a >= maxCPUs {
			return nil
		}
		for n := a; n <= b; n++ {
			out = append(out, n)
		}
	}
	return out
}
