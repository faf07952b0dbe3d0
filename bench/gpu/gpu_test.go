package gpu

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"kith/bench"
	"kith/bench/probe"
)

func recorded(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tool puts an nvidia-smi first on PATH that prints recorded files: table for a query, list for -L. A query that asks
// for a column of refuse fails as an old driver's does.
func tool(t *testing.T, table, list, refuse string, exit int) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a script stands in for the tool")
	}
	abs := func(name string) string {
		p, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	body := "#!/bin/sh\n"
	if refuse != "" {
		body += "case \"$1\" in *" + refuse + "*) echo 'Field \"" + refuse + "\" is not a valid field to query.'; exit 2;; esac\n"
	}
	if list != "" {
		body += "if [ \"$1\" = -L ]; then cat '" + abs(list) + "'; exit 0; fi\n"
	}
	body += "cat '" + abs(table) + "'\nexit " + string(rune('0'+exit)) + "\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(body), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestTwoCardsOfOneMachine(t *testing.T) {
	tool(t, "rtx4090-gtx1660s.csv", "", "", 0)
	cards, err := smi(t.Context())
	if err != nil || len(cards) != 2 {
		t.Fatalf("got %+v, %v", cards, err)
	}
	big, small := Device(cards[0]), Device(cards[1])
	if big.Model != "NVIDIA GeForce RTX 4090" || big.Fact("compute capability") != "8.9" || big.Fact("tensor cores") != "yes" || big.Fact("driver") != "551.86" {
		t.Errorf("RTX 4090: %+v", big)
	}
	if m, _ := big.Get(bench.VRAM); m.Value != 24564<<20 {
		t.Errorf("RTX 4090 has %v", m)
	}
	if small.Fact("compute capability") != "7.5" || small.Fact("tensor cores") != "no" {
		t.Errorf("GTX 1660 SUPER: %+v", small)
	}
	if m, _ := small.Get("power.limit"); m.Value != 125 || m.Unit != bench.Watts {
		t.Errorf("GTX 1660 SUPER: %+v", m)
	}
}

func TestOldDriverIsAskedForLess(t *testing.T) {
	tool(t, "gt1030.csv", "", "compute_cap", 0)
	cards, err := smi(t.Context())
	if err != nil || len(cards) != 1 {
		t.Fatalf("got %+v, %v", cards, err)
	}
	d := Device(cards[0])
	if m, ok := d.Get(bench.VRAM); !ok || m.Value != 2000<<20 {
		t.Errorf("GT 1030: %+v", d)
	}
	if _, ok := d.Get("power"); ok || d.Fact("compute capability") != "" || d.Fact("tensor cores") != "" {
		t.Errorf("GT 1030 tells what its driver does not: %+v", d)
	}
}

// laptop is what the kernel shows of a laptop with graphics of its processor and a card.
func laptop() fstest.MapFS {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	return fstest.MapFS{
		"sys/class/drm/card0/device/vendor":                   file("0x8086"),
		"sys/class/drm/card0/device/device":                   file("0x46a6"),
		"sys/class/drm/card0/device/uevent":                   file("DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0"),
		"sys/class/drm/card1/device/vendor":                   file("0x10de"),
		"sys/class/drm/card1/device/device":                   file("0x2520"),
		"sys/class/drm/card1/device/uevent":                   file("DRIVER=nvidia\nPCI_SLOT_NAME=0000:01:00.0"),
		"sys/class/drm/card1-HDMI-A-1/status":                 file("disconnected"),
		"sys/class/drm/renderD128/device/vendor":              file("0x8086"),
		"usr/share/misc/pci.ids":                              file("# ids\n8086  Intel Corporation\n\t46a6  Alder Lake-P GT2 [Iris Xe Graphics]\n\t\t1028 0b08  A laptop\n10de  NVIDIA Corporation\n\t2520  GA106M [GeForce RTX 3060 Mobile / Max-Q]\n\t2684  AD102 [GeForce RTX 4090]\nffff  Last"),
		"sys/class/drm/card2/device/vendor":                   file("0x1234"), // a virtual display
		"sys/class/drm/card3/device/vendor":                   file("0x1002"),
		"sys/class/drm/card3/device/device":                   file("0x744c"),
		"sys/class/drm/card3/device/mem_info_vram_total":      file("25753026560"),
		"sys/class/drm/card3/device/mem_info_vram_used":       file("53026560"),
		"sys/class/drm/card3/device/hwmon/hwmon4/temp1_input": file("-41000"),
		"sys/class/drm/card3/device/hwmon/hwmon4/power1_cap":  file("339000000"),
	}
}

func TestLaptopWithTwoCards(t *testing.T) {
	tool(t, "hybrid.csv", "", "", 0)
	nvidia, err := smi(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cards := merge(nvidia, nil, parseDRM(laptop()))
	var got []string
	for _, c := range cards {
		got = append(got, c.Vendor+" "+c.Model+" "+c.Problem)
	}
	want := "nvidia NVIDIA GeForce RTX 3060 Laptop GPU |amd AMD graphics, device 744c |intel Iris Xe Graphics "
	if strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
	}
	amd := Device(cards[1])
	if m, _ := amd.Get(bench.VRAM); m.Value != 25753026560 {
		t.Errorf("AMD: %+v", amd)
	}
	if _, ok := amd.Get("temperature"); ok {
		t.Error("a sensor that says −41 °C was believed")
	}
}

func TestNoDriver(t *testing.T) {
	tool(t, "nodriver.txt", "", "", 9)
	nvidia, err := smi(t.Context())
	if !errors.Is(err, probe.ErrCrashed) || !strings.Contains(err.Error(), "communicate with the NVIDIA driver") {
		t.Fatalf("got %v, %v", nvidia, err)
	}
	for _, c := range merge(nil, err, parseDRM(laptop())) {
		if c.Vendor != bench.NVIDIA {
			continue
		}
		d := Device(c)
		d.Measurements = append(d.Measurements, measure(t.Context(), c, 0, Options{})...)
		m, _ := d.Get(bench.FP16Matmul)
		if d.Model != "GeForce RTX 3060 Mobile / Max-Q" || !d.Has(bench.FlagNoDriver) || m.Graded() || !strings.Contains(m.Ungraded, "communicate") || bench.CardClass(&d) != bench.ClassCPU {
			t.Errorf("got %+v", d)
		}
	}
}

func TestCrashedDriver(t *testing.T) {
	tool(t, "crashed.csv", "", "", 0)
	cards, err := smi(t.Context())
	if err != nil || len(cards) != 3 {
		t.Fatalf("got %+v, %v", cards, err)
	}
	if c := cards[0]; c.Bus != "0000:01:00.0" || !strings.Contains(c.Problem, "GPU is lost") {
		t.Errorf("the lost card: %+v", c)
	}
	if c := cards[1]; c.Problem != "" || c.VRAM != 24576<<20 {
		t.Errorf("the healthy card: %+v", c)
	}
	if c := cards[2]; !strings.Contains(c.Problem, "requires reset") {
		t.Errorf("the card to reset: %+v", c)
	}
}

func TestSplitCard(t *testing.T) {
	tool(t, "mig.csv", "mig-list.txt", "", 0)
	cards, err := smi(t.Context())
	if err != nil || len(cards) != 3 {
		t.Fatalf("got %+v, %v", cards, err)
	}
	if d := Device(cards[0]); !d.Has(bench.FlagPartitioned) {
		t.Errorf("the whole card: %+v", d)
	}
	if c := cards[2]; !c.Instance || c.VRAM != 10<<30 || c.Compute != "9.0" || !strings.HasPrefix(c.UUID, "MIG-") || !strings.Contains(c.Model, "H100") {
		t.Errorf("the smaller instance: %+v", c)
	}
	if kind, env := target(cards[2], 2); kind != "cuda" || env[1] != "CUDA_VISIBLE_DEVICES="+cards[2].UUID {
		t.Errorf("the instance is measured with %s %v", kind, env)
	}
	for _, m := range measure(t.Context(), cards[0], 0, Options{}) {
		if m.Graded() || !strings.Contains(m.Ungraded, "instances") {
			t.Errorf("the whole card: %+v", m)
		}
	}
}

func TestContainerWithoutSys(t *testing.T) {
	if cards := parseDRM(fstest.MapFS{}); cards != nil {
		t.Errorf("got %+v", cards)
	}
}

func TestProfiler(t *testing.T) {
	cards, err := parseProfiler([]byte(recorded(t, "profiler-apple.json")), 64<<30)
	if err != nil || len(cards) != 1 || cards[0].Vendor != bench.Apple || cards[0].VRAM != 64<<30 || !cards[0].Shared {
		t.Errorf("Apple: %+v, %v", cards, err)
	}
	cards, err = parseProfiler([]byte(recorded(t, "profiler-intel.json")), 0)
	if err != nil || len(cards) != 2 || cards[0].VRAM != 1536<<20 || !cards[0].Shared || cards[1].Vendor != bench.AMD || cards[1].VRAM != 8<<30 {
		t.Errorf("Intel: %+v, %v", cards, err)
	}
}

func TestScript(t *testing.T) {
	python, err := interpreter(nil)
	if err != nil {
		t.Skip(err)
	}
	run := func(path string) []bench.Measurement {
		out, err := probe.Run(t.Context(), probe.Command{Path: python, Args: []string{"-", "cpu", "0.01"}, Env: []string{"PYTHONPATH=" + path, "PYTHONDONTWRITEBYTECODE=1"}, Stdin: script, Limit: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseAnswer(out)
		return figures(a, err, time.Now())
	}
	path, err := filepath.Abs("testdata/python")
	if err != nil {
		t.Fatal(err)
	}
	d := bench.Device{Measurements: run(path)}
	if m, _ := d.Get(bench.FP16Matmul); !m.Graded() || m.Value <= 0 || m.Method != "PyTorch 0-test on cpu" {
		t.Errorf("FP16: %+v", m)
	}
	if m, _ := d.Get(bench.INT8Matmul); m.Graded() || m.Ungraded != "RuntimeError: no kernel for this" {
		t.Errorf("INT8: %+v", m)
	}
	empty := bench.Device{Measurements: run(t.TempDir())}
	if m, _ := empty.Get(bench.FP16Matmul); m.Graded() && os.Getenv("PYTHONPATH") == "" {
		if !strings.Contains(m.Method, "PyTorch") {
			t.Errorf("without the stand-in: %+v", m)
		}
	} else if !strings.Contains(m.Ungraded, "torch") {
		t.Errorf("without PyTorch: %+v", m)
	}
}

func TestAnswersThatCannotBe(t *testing.T) {
	for _, out := range []string{"", "hello", "{", "[]", `{"fp16": [-1]}`, `{"fp16": [1e300]}`, `{"fp16": []}`, `{"fp16": "x"}`} {
		a, err := parseAnswer([]byte(out))
		for _, m := range figures(a, err, time.Now()) {
			if m.Graded() {
				t.Errorf("%q gave %+v", out, m)
			}
		}
	}
	a, err := parseAnswer([]byte("warning: old card\n" + `{"runtime": "PyTorch", "device": "x", "fp16": [3, 3, 3], "errors": {}}` + "\n"))
	if m := figures(a, err, time.Now())[0]; m.Value != 3 {
		t.Errorf("after a warning: %+v, %v", m, err)
	}
}

func TestBusAddresses(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"00000000:01:00.0", "0000:01:00.0", true},
		{"00000000:1B:00.0", "0000:1b:00.0", true},
		{"00000001:01:00.0", "0000:01:00.0", false},
		{"00000000:01:00.0", "0000:02:00.0", false},
		{"", "", false},
	} {
		if got := sameBus(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}

func FuzzSMI(f *testing.F) {
	for _, name := range []string{"rtx4090-gtx1660s.csv", "gt1030.csv", "crashed.csv", "nodriver.txt", "mig.csv"} {
		f.Add(recorded(f, name), recorded(f, "mig-list.txt"))
	}
	f.Fuzz(func(t *testing.T, table, list string) {
		cards, err := parseSMI(table)
		if err != nil {
			return
		}
		for _, c := range addInstances(cards, list) {
			d := Device(c)
			for _, m := range d.Measurements {
				if m.Graded() && (m.Value < 0 || m.Value != m.Value) {
					t.Errorf("%+v", m)
				}
			}
			if len(c.Model) > 1000 || c.VRAM > 1<<50 {
				t.Errorf("%+v", c)
			}
		}
	})
}

func FuzzPCINames(f *testing.F) {
	f.Add("8086  Intel\n\t46a6  Alder [Iris]\n", "8086", "46a6")
	f.Fuzz(func(t *testing.T, list, vendor, device string) {
		if name := lookup(list, vendor, device); len(name) > 200 {
			t.Errorf("%q", name)
		}
	})
}

func FuzzProfiler(f *testing.F) {
	f.Add([]byte(recorded(f, "profiler-apple.json")))
	f.Add([]byte(recorded(f, "profiler-intel.json")))
	f.Fuzz(func(t *testing.T, data []byte) {
		cards, _ := parseProfiler(data, 1<<30)
		for _, c := range cards {
			if c.VRAM > 1<<50 {
				t.Errorf("%+v", c)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"runtime":"x","fp16":[1,2],"errors":{"int8":"y"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAnswer(data)
		for _, m := range figures(a, err, time.Now()) {
			if m.Graded() && !(m.Value > 0) {
				t.Errorf("%+v", m)
			}
		}
	})
}
