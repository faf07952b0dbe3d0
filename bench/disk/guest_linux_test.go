package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kith/bench"
)

// TestGuest runs in a guest with emulated drives: make test-smart. What Kith reads of a drive must be what smartctl prints of
// it, and a drive that is pulled while it is measured must end the measurement.
func TestGuest(t *testing.T) {
	if os.Getenv("KITH_GUEST") == "" {
		t.Skip("runs in a guest: make test-smart")
	}
	for _, c := range []struct {
		name    string
		record  string
		kind    Kind
		verdict Verdict
	}{
		{"nvme0n1", "smart-qemu-nvme0.json", Virtual, Sound},
		{"nvme1n1", "smart-qemu-nvme1.json", Virtual, Dying},
		{"sda", "smart-qemu-ata.json", Virtual, Sound},
		{"sdb", "", HDD, Sound}, // these two are named and turn as real ones do
		{"sdc", "", SSD, Sound},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Look(t.Context(), "/mnt/"+c.name)
			ours, err := json.Marshal(r)
			must(t, err)
			t.Logf("%s", ours)
			if r.Drive.Name != c.name || r.Drive.Kind != c.kind || r.Drive.ReadOnly || r.Drive.Bytes != 256<<20 {
				t.Errorf("the drive is %+v", r.Drive)
			}
			raw := smartctlPrints(t, r.Drive.Path, c.record)
			var a struct {
				Model  string `json:"model_name"`
				Status struct {
					Passed bool `json:"passed"`
				} `json:"smart_status"`
				Temperature struct {
					Current int `json:"current"`
				} `json:"temperature"`
				PowerOn struct {
					Hours int64 `json:"hours"`
				} `json:"power_on_time"`
			}
			must(t, json.Unmarshal(raw, &a))
			s := r.SMART
			if a.Model == "" || s.Model != a.Model || r.Drive.Model == "" {
				t.Errorf("model %q and %q, smartctl says %q", s.Model, r.Drive.Model, a.Model)
			}
			if a.Temperature.Current == 0 || s.Celsius != a.Temperature.Current {
				t.Errorf("%d °C, smartctl says %d", s.Celsius, a.Temperature.Current)
			}
			if s.Hours != a.PowerOn.Hours || s.Verdict != c.verdict || a.Status.Passed != (c.verdict == Sound) {
				t.Errorf("%s after %d hours because of %q; smartctl says passed: %v after %d", s.Verdict, s.Hours, s.Why, a.Status.Passed, a.PowerOn.Hours)
			}
			speed, err := Measure(t.Context(), Options{Dir: r.Dir, Budget: time.Second, Size: 32 << 20})
			if err != nil || !speed.Direct || speed.Verified == 0 || len(speed.Wrong) > 0 {
				t.Errorf("measured: %+v, %v", speed, err)
			}
		})
	}
	t.Run("no such device", func(t *testing.T) {
		smartctlPrints(t, "/dev/nvme9n1", "smart-qemu-none.json")
		if s := Ask(t.Context(), Drive{Path: "/dev/nvme9n1", Kind: NVMe}); s.Verdict != Silent || len(s.Why) == 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("read only", func(t *testing.T) {
		must(t, unix.Mount("", "/mnt/nvme1n1", "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		if r := Study(t.Context(), Prober{}, "/mnt/nvme1n1", bench.Quick, nil); !r.Drive.ReadOnly || r.Failed == "" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("pulled while it is measured", func(t *testing.T) {
		pulled := make(chan error, 1)
		_, err := Measure(t.Context(), Options{Dir: "/mnt/sda", Budget: time.Minute, Size: 64 << 20, Progress: func(_ string, _ float64, requests int64) {
			if requests > 0 && len(pulled) == 0 {
				pulled <- os.WriteFile("/sys/block/sda/device/delete", []byte("1"), 0)
			}
		}})
		must(t, <-pulled)
		if !errors.Is(err, ErrWrong) {
			t.Errorf("it ended with %v", err)
		}
		if r := Look(t.Context(), "/mnt/sda"); r.SMART.Verdict != Silent {
			t.Errorf("a drive that is gone says %+v", r.SMART)
		}
	})
}

// smartctlPrints returns what smartctl prints of a device, and prints it to be kept under the name record, if there is one.
func smartctlPrints(t *testing.T, path, record string) []byte {
	out, err := exec.Command("smartctl", "--json=c", "--info", "--health", "--attributes", "--log=error", "--nocheck=standby", path).Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var indented json.RawMessage
	must(t, json.Unmarshal(out, &indented))
	pretty, err := json.MarshalIndent(indented, "", " ")
	must(t, err)
	if record == "" {
		return out
	}
	fmt.Printf("-----BEGIN %s\n%s\n-----END\n", record, pretty)
	return out
}
