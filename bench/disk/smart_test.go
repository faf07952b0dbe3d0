package disk

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// answer reads a recorded answer of smartctl and changes it: each pair is a path of keys joined by dots, and a value.
func answer(t testing.TB, name string, pairs ...any) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "smart-"+name+".json"))
	must(t, err)
	if len(pairs) == 0 {
		return data
	}
	var v map[string]any
	must(t, json.Unmarshal(data, &v))
	for i := 0; i < len(pairs); i += 2 {
		at := v
		keys := strings.Split(pairs[i].(string), ".")
		for _, k := range keys[:len(keys)-1] {
			if at[k] == nil {
				at[k] = map[string]any{}
			}
			at = at[k].(map[string]any)
		}
		if pairs[i+1] == nil {
			delete(at, keys[len(keys)-1])
			continue
		}
		at[keys[len(keys)-1]] = pairs[i+1]
	}
	data, err = json.Marshal(v)
	must(t, err)
	return data
}

func row(id int, name string, value, thresh int, raw int64, failed string, prefail bool) map[string]any {
	return map[string]any{
		"id": id, "name": name, "value": value, "worst": value, "thresh": thresh, "when_failed": failed,
		"flags": map[string]any{"prefailure": prefail}, "raw": map[string]any{"value": raw},
	}
}

const table = "ata_smart_attributes.table"

func TestSMART(t *testing.T) {
	const nvme = "nvme_smart_health_information_log."
	for _, c := range []struct {
		name    string
		data    []byte
		verdict Verdict
		why     string // part of the reasons
	}{
		{"a sound ATA drive", answer(t, "qemu-ata"), Sound, ""},
		{"a sound NVMe drive without a spare", answer(t, "qemu-nvme0"), Sound, ""},
		{"an NVMe drive whose reliability is degraded", answer(t, "qemu-nvme1"), Dying, "failing"},
		{"no such device", answer(t, "qemu-none"), Silent, "No such device"},
		{"a virtual drive", answer(t, "virtio"), Silent, "Unable to detect device type"},

		{"bit 3: failing", answer(t, "qemu-ata", "smartctl.exit_status", 8, "smart_status.passed", false), Dying, "SMART status"},
		{"the status alone", answer(t, "qemu-ata", "smart_status.passed", false), Dying, "SMART status"},
		{"bit 4: at its limit", answer(t, "qemu-ata", "smartctl.exit_status", 16), Warning, "at its limit"},
		{"bit 5: was at its limit once", answer(t, "qemu-ata", "smartctl.exit_status", 32), Sound, ""},
		{"bit 6: old errors in its log", answer(t, "qemu-ata", "smartctl.exit_status", 64, "ata_smart_error_log.summary.count", 7), Sound, ""},
		{"bit 7: self-test failed", answer(t, "qemu-ata", "smartctl.exit_status", 128), Warning, "self-test"},
		{"bit 2: some command failed", answer(t, "qemu-ata", "smartctl.exit_status", 4), Sound, ""},
		{"bit 1: asleep", answer(t, "qemu-none", "smartctl.messages", []any{map[string]any{"string": "Device is in STANDBY mode, exit(2)", "severity": "information"}}), Silent, "cannot ask"},
		{"no permission", answer(t, "qemu-none", "smartctl.messages", []any{map[string]any{"string": "Smartctl open device: /dev/sda failed: Permission denied", "severity": "error"}}), Silent, "Permission denied"},
		{"switched off", answer(t, "qemu-ata", "smart_support.enabled", false, "smart_status", nil), Silent, "switched off"},
		{"a bridge that passes nothing on", answer(t, "qemu-ata", "smart_status", nil, "ata_smart_attributes", nil), Silent, "does not tell"},

		{"pending sectors", answer(t, "qemu-ata", table, []any{row(197, "Current_Pending_Sector", 100, 0, 3, "", false)}), Warning, "3 pending"},
		{"a few replaced sectors", answer(t, "qemu-ata", table, []any{row(5, "Reallocated_Sector_Ct", 100, 10, 8, "", true)}), Sound, ""},
		{"many replaced sectors", answer(t, "qemu-ata", table, []any{row(5, "Reallocated_Sector_Ct", 40, 10, 2000, "", true)}), Warning, "2000 reallocated"},
		{"a limit is crossed", answer(t, "qemu-ata", table, []any{row(5, "Reallocated_Sector_Ct", 5, 10, 4000, "now", true)}), Dying, "below its limit"},
		{"old age is crossed", answer(t, "qemu-ata", table, []any{row(9, "Power_On_Hours", 1, 5, 90000, "now", false)}), Warning, "end of its life"},
		{"cable errors", answer(t, "qemu-ata", table, []any{row(199, "UDMA_CRC_Error_Count", 200, 0, 5000, "", false)}), Sound, ""},
		{"a worn SSD", answer(t, "qemu-ata", "rotation_rate", 0, table, []any{row(231, "SSD_Life_Left", 4, 0, 4, "", false)}), Warning, "96 % of its life"},

		{"spare used up", answer(t, "qemu-nvme0", nvme+"available_spare", 3, nvme+"available_spare_threshold", 10), Dying, "3 % of its spare"},
		{"read only", answer(t, "qemu-nvme0", nvme+"critical_warning", 8), Dying, "only be read"},
		{"media errors", answer(t, "qemu-nvme0", nvme+"media_errors", 12), Warning, "12 errors of the medium"},
		{"worn", answer(t, "qemu-nvme0", nvme+"percentage_used", 97), Warning, "97 %"},
		{"no power backup", answer(t, "qemu-nvme0", nvme+"critical_warning", 16), Warning, "power cut"},
		{"grown defects of a SCSI drive", answer(t, "qemu-ata", "ata_smart_attributes", nil, "scsi_grown_defect_list", 4), Warning, "4 grown defects"},
		{"nonsense numbers", answer(t, "qemu-nvme0", nvme+"media_errors", -5, nvme+"percentage_used", -1, "temperature.current", 255), Sound, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := parseSMART(c.data, time.Unix(5, 0))
			must(t, err)
			if why := strings.Join(s.Why, "; "); s.Verdict != c.verdict || !strings.Contains(why, c.why) || (c.why == "") != (why == "") {
				t.Errorf("%s because of %q, want %s with %q", s.Verdict, why, c.verdict, c.why)
			}
			if s.Celsius < 0 || s.Celsius >= absurd || s.Worn < 0 || s.Hours < 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestSMARTHeatAndCounts(t *testing.T) {
	parse := func(data []byte) SMART {
		s, err := parseSMART(data, time.Unix(5, 0))
		must(t, err)
		return s
	}
	for _, c := range []struct {
		data []byte
		c    int
		hot  bool
	}{
		{answer(t, "qemu-ata"), 31, false},
		{answer(t, "qemu-ata", "temperature.current", 62, "rotation_rate", 7200), 62, true},
		{answer(t, "qemu-ata", "temperature.current", 62, "rotation_rate", 0), 62, false},
		{answer(t, "qemu-nvme0", "temperature.current", 84), 84, true},
		{answer(t, "qemu-nvme0", "temperature.current", 84, "temperature.op_limit_max", 90), 84, false},
		{answer(t, "qemu-nvme0", "nvme_smart_health_information_log.critical_warning", 2), 50, true},
		{answer(t, "qemu-ata", "temperature.current", -40), 0, false},
	} {
		if s := parse(c.data); s.Celsius != c.c || (s.Hot != "") != c.hot {
			t.Errorf("%d °C, hot %q, want %d, %v", s.Celsius, s.Hot, c.c, c.hot)
		}
	}
	before := parse(answer(t, "qemu-ata", table, []any{row(5, "R", 100, 10, 8, "", true), row(199, "C", 200, 0, 10, "", false)}))
	after := parse(answer(t, "qemu-ata", table, []any{row(5, "R", 100, 10, 9, "", true), row(199, "C", 200, 0, 10, "", false)}))
	if got := after.Risen(before); got != "reallocated 8 → 9" {
		t.Errorf("risen: %q", got)
	}
	if got := before.Risen(before) + before.Risen(after) + before.Risen(SMART{}); got != "" {
		t.Errorf("nothing rose: %q", got)
	}
}

func TestAsk(t *testing.T) {
	now := func() time.Time { return time.Unix(5, 0) }
	var asked []string
	fake := func(answers map[string][]byte, err error) runner {
		asked = nil
		return func(_ context.Context, _ string, args ...string) ([]byte, error) {
			kind := ""
			for _, a := range args {
				if k, ok := strings.CutPrefix(a, "--device="); ok {
					kind = k
				}
			}
			asked = append(asked, kind)
			return answers[kind], err
		}
	}
	usb := Drive{Path: "/dev/sdb", Kind: USB}
	silent := answer(t, "virtio")
	if s := ask(t.Context(), usb, fake(map[string][]byte{"": silent, "sat": answer(t, "qemu-ata")}, nil), now); s.Verdict != Sound || !slices.Equal(asked, []string{"", "sat"}) {
		t.Errorf("an unknown bridge: %+v after %q", s, asked)
	}
	all := map[string][]byte{"": silent, "sat": silent, "sntjmicron": silent, "sntrealtek": silent}
	if s := ask(t.Context(), usb, fake(all, nil), now); s.Verdict != Silent || len(asked) != 4 || !strings.Contains(s.Why[0], "device type") {
		t.Errorf("a silent bridge: %+v after %q", s, asked)
	}
	sata := Drive{Path: "/dev/sda", Kind: HDD}
	for name, c := range map[string]struct {
		run runner
		why string
	}{
		"not installed": {fake(nil, ErrNoSmartctl), "smartmontools"},
		"garbage":       {fake(map[string][]byte{"": []byte("<html>")}, nil), "no answer"},
		"too long":      {fake(map[string][]byte{"": make([]byte, maxSmartctl+1)}, nil), "bytes"},
		"fails":         {fake(nil, errors.New("segmentation fault")), "segmentation"},
	} {
		if s := ask(t.Context(), sata, c.run, now); s.Verdict != Silent || !strings.Contains(s.Why[0], c.why) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := ask(t.Context(), Drive{Kind: Network}, fake(nil, nil), now); s.Verdict != Silent || len(asked) > 0 {
		t.Errorf("a network drive: %+v", s)
	}
	// A smartctl that never ends is given up; what is asked here ends with the caller.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	hangs := func(ctx context.Context, _ string, _ ...string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }
	if s := ask(ctx, sata, hangs, now); s.Verdict != Silent || !strings.Contains(s.Why[0], "did not answer") {
		t.Errorf("hangs: %+v", s)
	}
}

// TestAskHere asks whatever drive this folder is on, with the real program if there is one: it must not fail.
func TestAskHere(t *testing.T) {
	d, err := Of(t.TempDir())
	must(t, err)
	s := Ask(t.Context(), d)
	t.Logf("%s: %s %q", d.Title(), s.Verdict, s.Why)
	if s.Verdict == Silent && len(s.Why) == 0 {
		t.Error("unknown without a reason")
	}
}

func TestKnownMake(t *testing.T) {
	for _, c := range []struct {
		d    Drive
		want string
	}{
		{Drive{Kind: HDD, Model: "WDC WD40EFAX-68JH4N0"}, "shingled"},
		{Drive{Kind: HDD, Model: "WDC WD80EFAX-68KNBN0"}, ""},
		{Drive{Kind: HDD, Model: "ST2000DM008-2FR102"}, "shingled"},
		{Drive{Kind: HDD, Model: "ST3000DM008-2DM166"}, ""},
		{Drive{Kind: USB, Model: "Seagate Expansion Desk"}, "backups"},
		{Drive{Kind: NVMe, Model: "Expansion Card"}, ""},
		{Drive{Kind: USB, Model: "SanDisk Cruzer Blade"}, "stick"},
		{Drive{Kind: Card, Model: ""}, "card"},
		{Drive{Kind: NVMe, Model: "Samsung SSD 980 PRO 1TB"}, "firmware"},
		{Drive{Kind: Virtual, Model: "QEMU HARDDISK"}, ""},
	} {
		m, ok := KnownMake(c.d)
		if ok != (c.want != "") || !strings.Contains(m.Words, c.want) {
			t.Errorf("%s %q: %+v, want %q", c.d.Kind, c.d.Model, m, c.want)
		}
	}
	for _, m := range Makes() {
		if m.Source == "" || m.Words == "" {
			t.Errorf("%s has no source or words", m.Match)
		}
	}
}

func FuzzSMART(f *testing.F) {
	for _, name := range []string{"qemu-ata", "qemu-nvme0", "qemu-nvme1", "qemu-none", "virtio"} {
		f.Add(answer(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSMART(data, time.Unix(5, 0))
		if err != nil {
			return
		}
		if (s.Verdict == Silent || s.Verdict == Warning || s.Verdict == Dying) && len(s.Why) == 0 {
			t.Errorf("%s without a reason", s.Verdict)
		}
		for _, n := range s.Counts {
			if n < 0 {
				t.Errorf("counts %v", s.Counts)
			}
		}
	})
}
