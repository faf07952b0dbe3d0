package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Verdict is what a drive says of its own health. Most drives behind hypervisors and cheap bridges say nothing: that is
// Silent, never Failing.
type Verdict string

// The verdicts.
const (
	Silent  Verdict = "unknown"
	Sound   Verdict = "ok"
	Warning Verdict = "warning"
	Dying   Verdict = "failing"
)

// SMART is what a drive says of itself.
type SMART struct {
	Verdict  Verdict  `json:"verdict"`
	Why      []string `json:"why,omitempty"` // of a warning or worse; of unknown, why nothing is known
	Model    string   `json:"model,omitempty"`
	Protocol string   `json:"protocol,omitempty"` // "ATA", "NVMe", "SCSI"
	Celsius  int      `json:"celsius,omitempty"`  // 0: not told
	Hot      string   `json:"hot,omitempty"`      // why it counts as too hot
	Hours    int64    `json:"hours,omitempty"`    // switched on
	Worn     int      `json:"worn,omitempty"`     // percent of its life that is used; 0: not told
	Rotation int      `json:"rotation,omitempty"` // a minute; 0: not told, or none
	// Counts grow when something goes wrong: sectors given up, errors of the medium and of the cable. A rise since last
	// time says more than a number.
	Counts map[string]int64 `json:"counts,omitempty"`
	At     time.Time        `json:"at"`
}

// Bits of smartctl's exit status.
const (
	exitUsage     = 1 << 0
	exitOpen      = 1 << 1
	exitCommand   = 1 << 2
	exitFailing   = 1 << 3
	exitPrefail   = 1 << 4
	exitPast      = 1 << 5
	exitErrorLog  = 1 << 6
	exitTestLog   = 1 << 7
	maxSmartctl   = 4 << 20 // bytes of an answer
	smartctlLimit = 20 * time.Second
)

// smartctl is the part of an answer of "smartctl --json" that is looked at.
type smartctl struct {
	Smartctl struct {
		Exit     int `json:"exit_status"`
		Messages []struct {
			String   string `json:"string"`
			Severity string `json:"severity"`
		} `json:"messages"`
	} `json:"smartctl"`
	Device struct {
		Type     string `json:"type"`
		Protocol string `json:"protocol"`
	} `json:"device"`
	Model    string `json:"model_name"`
	SCSI     string `json:"scsi_model_name"`
	Rotation int    `json:"rotation_rate"`
	Support  *struct {
		Available bool `json:"available"`
		Enabled   bool `json:"enabled"`
	} `json:"smart_support"`
	Status *struct {
		Passed *bool `json:"passed"`
	} `json:"smart_status"`
	Temperature struct {
		Current   int `json:"current"`
		DriveTrip int `json:"drive_trip"`
		OpLimit   int `json:"op_limit_max"`
	} `json:"temperature"`
	PowerOn struct {
		Hours int64 `json:"hours"`
	} `json:"power_on_time"`
	ATA struct {
		Table []attribute `json:"table"`
	} `json:"ata_smart_attributes"`
	ErrorLog struct {
		Summary struct {
			Count int64 `json:"count"`
		} `json:"summary"`
		Extended struct {
			Count int64 `json:"count"`
		} `json:"extended"`
	} `json:"ata_smart_error_log"`
	NVMe *struct {
		Critical    int   `json:"critical_warning"`
		Temperature int   `json:"temperature"`
		Spare       int   `json:"available_spare"`
		SpareLimit  int   `json:"available_spare_threshold"`
		Used        int   `json:"percentage_used"`
		Hours       int64 `json:"power_on_hours"`
		Unsafe      int64 `json:"unsafe_shutdowns"`
		Media       int64 `json:"media_errors"`
		WarningTime int64 `json:"warning_temp_time"`
		CritTime    int64 `json:"critical_comp_time"`
	} `json:"nvme_smart_health_information_log"`
	Defects *int64 `json:"scsi_grown_defect_list"`
}

// attribute is one row of an ATA drive's table.
type attribute struct {
	ID     int    `json:"id"`
	Name   string `json:"name"`
	Value  int    `json:"value"`
	Thresh int    `json:"thresh"`
	Failed string `json:"when_failed"` // "", "now", "past"
	Flags  struct {
		Prefailure bool `json:"prefailure"`
	} `json:"flags"`
	Raw struct {
		Value int64 `json:"value"`
	} `json:"raw"`
}

// Attributes of ATA drives whose raw value counts what went wrong, and how many of them are a warning by themselves.
var ataCounts = map[int]struct {
	name string
	warn int64
}{
	5:   {"reallocated", 50},     // sectors replaced; a few are normal on an old disk
	10:  {"spin-retries", 1},     //
	183: {"downshifts", 0},       // of the SATA link; 0: only a rise counts
	184: {"end-to-end", 1},       //
	187: {"uncorrectable", 1},    // reported to the host
	188: {"command-timeouts", 0}, // vendors pack three numbers into it
	197: {"pending", 1},          // sectors that could not be read
	198: {"offline-unreadable", 1},
	199: {"crc", 0}, // the cable or the bridge
}

// Temperatures in °C from which a drive counts as hot where it does not say itself what it stands.
const (
	hotHDD  = 60
	hotSSD  = 70
	hotNVMe = 80
	absurd  = 150 // broken sensors say 255
)

// errAnswer: what came is no answer of smartctl.
var errAnswer = errors.New("no answer of smartctl")

// parseSMART reads an answer of "smartctl --json".
func parseSMART(data []byte, now time.Time) (SMART, error) {
	var a smartctl
	if err := json.Unmarshal(data, &a); err != nil {
		return SMART{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	s := SMART{Verdict: Silent, Model: clean(a.Model), Protocol: clean(a.Device.Protocol), Counts: map[string]int64{}, At: now}
	if s.Model == "" {
		s.Model = clean(a.SCSI)
	}
	if exit := a.Smartctl.Exit; exit&(exitUsage|exitOpen) != 0 {
		s.Why = append(s.Why, a.message("smartctl cannot ask this drive"))
		return s, nil
	}
	s.Rotation = max(a.Rotation, 0)
	s.Hours = max(a.PowerOn.Hours, 0)
	s.warm(&a)
	warn := a.warnings(&s)
	fails := a.failures()
	known := a.Status != nil && a.Status.Passed != nil || a.NVMe != nil || len(a.ATA.Table) > 0
	switch {
	case len(fails) > 0:
		s.Verdict, s.Why = Dying, append(fails, warn...)
	case a.Support != nil && a.Support.Available && !a.Support.Enabled:
		s.Why = append(s.Why, "SMART is switched off in this drive; smartctl --smart=on switches it on")
	case !known:
		s.Why = append(s.Why, a.message("this drive does not tell its health"))
	case len(warn) > 0:
		s.Verdict, s.Why = Warning, warn
	default:
		s.Verdict = Sound
	}
	return s, nil
}

// message is what smartctl says when it fails.
func (a *smartctl) message(otherwise string) string {
	for _, m := range a.Smartctl.Messages {
		if text := clean(m.String); text != "" && m.Severity != "information" {
			return text
		}
	}
	return otherwise
}

func (s *SMART) warm(a *smartctl) {
	c := a.Temperature.Current
	if c == 0 && a.NVMe != nil {
		c = a.NVMe.Temperature
	}
	if c <= 0 || c >= absurd {
		return
	}
	s.Celsius = c
	limit := hotSSD
	switch {
	case a.NVMe != nil:
		limit = hotNVMe
	case a.Rotation > 0:
		limit = hotHDD
	}
	if own := a.Temperature.OpLimit; own > 30 && own < absurd {
		limit = own
	}
	if c >= limit {
		s.Hot = fmt.Sprintf("%d °C, and %d are too many for it", c, limit)
	}
}

// failures lists what a drive says of its end.
func (a *smartctl) failures() (out []string) {
	if a.Smartctl.Exit&exitFailing != 0 || a.Status != nil && a.Status.Passed != nil && !*a.Status.Passed {
		out = append(out, "SMART status: the drive says it is failing")
	}
	for _, t := range a.ATA.Table {
		if t.Failed == "now" && t.Flags.Prefailure {
			out = append(out, fmt.Sprintf("attribute %d (%s) is %d, below its limit of %d", t.ID, clean(t.Name), t.Value, t.Thresh))
		}
	}
	if n := a.NVMe; n != nil {
		if n.Critical&(1<<2) != 0 {
			out = append(out, "NVMe: its reliability is degraded")
		}
		if n.Critical&(1<<3) != 0 {
			out = append(out, "NVMe: it can only be read any more")
		}
		// A drive without a spare at all says 0 of 0: not told.
		if n.Critical&1 != 0 || n.SpareLimit > 0 && n.Spare < n.SpareLimit {
			out = append(out, fmt.Sprintf("NVMe: %d %% of its spare are left, its limit is %d %%", n.Spare, n.SpareLimit))
		}
	}
	return out
}

// warnings lists what should worry people, and notes the counts.
func (a *smartctl) warnings(s *SMART) (out []string) {
	exit := a.Smartctl.Exit
	for _, t := range a.ATA.Table {
		c, counts := ataCounts[t.ID]
		raw := t.Raw.Value
		if counts && raw >= 0 {
			s.Counts[c.name] = raw
			if c.warn > 0 && raw >= c.warn {
				out = append(out, fmt.Sprintf("%d %s sectors or events (attribute %d)", raw, c.name, t.ID))
			}
		}
		if t.Failed == "now" && !t.Flags.Prefailure {
			out = append(out, fmt.Sprintf("attribute %d (%s) is at the end of its life", t.ID, clean(t.Name)))
		}
		// Life left of solid drives; makers number it differently.
		if (t.ID == 231 || t.ID == 177 || t.ID == 202 || t.ID == 233) && a.Rotation == 0 && t.Value > 0 && t.Value <= 100 {
			s.Worn = max(s.Worn, 100-t.Value)
		}
	}
	if n := max(a.ErrorLog.Summary.Count, a.ErrorLog.Extended.Count); n > 0 {
		s.Counts["logged-errors"] = n
	}
	if a.Defects != nil && *a.Defects >= 0 {
		s.Counts["defects"] = *a.Defects
		if *a.Defects > 0 {
			out = append(out, fmt.Sprintf("%d grown defects", *a.Defects))
		}
	}
	if n := a.NVMe; n != nil {
		s.Hours = max(s.Hours, n.Hours)
		s.Worn = min(max(n.Used, 0), 255)
		s.Counts["media"] = max(n.Media, 0)
		if n.Media > 0 {
			out = append(out, fmt.Sprintf("%d errors of the medium", n.Media))
		}
		if n.Critical&(1<<1) != 0 && s.Hot == "" {
			s.Hot = "it says that its temperature is out of range"
		}
		if n.Critical&(1<<4) != 0 {
			out = append(out, "NVMe: the backup of its memory has failed: a power cut can lose data")
		}
	}
	if s.Worn >= 90 {
		out = append(out, fmt.Sprintf("%d %% of its life are used", s.Worn))
	}
	for bit, words := range map[int]string{
		exitPrefail: "an attribute is at its limit", exitTestLog: "its last self-test found errors",
	} {
		if exit&bit != 0 {
			out = append(out, words)
		}
	}
	return out
}

// Risen says what grew since an earlier answer of the same drive, or "".
func (s SMART) Risen(before SMART) string {
	var parts []string
	for _, name := range sortedKeys(s.Counts) {
		if old, ok := before.Counts[name]; ok && s.Counts[name] > old {
			parts = append(parts, fmt.Sprintf("%s %d → %d", name, old, s.Counts[name]))
		}
	}
	if s.Verdict == Warning && before.Verdict == Sound && len(parts) == 0 {
		parts = append(parts, s.Why...)
	}
	return strings.Join(parts, ", ")
}

// ErrNoSmartctl: smartctl is not installed.
var ErrNoSmartctl = errors.New("smartctl is not installed; install smartmontools to see the health of drives")

// runner runs a program and returns what it printed, whatever its exit status.
type runner func(ctx context.Context, name string, args ...string) ([]byte, error)

func runProgram(ctx context.Context, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, ErrNoSmartctl
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil { // the status is a set of bits, and stands in the answer too
		err = nil
	}
	return out, err
}

// Ask asks a drive for its health through smartctl, without waking it when it sleeps. A drive that cannot be asked is
// Silent, with the reason; it is no error.
func Ask(ctx context.Context, d Drive) SMART { return ask(ctx, d, runProgram, time.Now) }

func ask(ctx context.Context, d Drive, run runner, now func() time.Time) SMART {
	silent := func(why string) SMART { return SMART{Verdict: Silent, Why: []string{why}, At: now()} }
	if d.Path == "" || d.Kind == Network {
		return silent("this drive cannot be asked from here")
	}
	ctx, cancel := context.WithTimeout(ctx, smartctlLimit)
	defer cancel()
	// Bridges that smartctl does not know are tried as what nearly all of them are.
	types := []string{""}
	if d.Kind == USB {
		types = append(types, "sat", "sntjmicron", "sntrealtek")
	}
	best := silent("this drive does not tell its health")
	for i, kind := range types {
		args := []string{"--json=c", "--info", "--health", "--attributes", "--log=error", "--nocheck=standby"}
		if kind != "" {
			args = append(args, "--device="+kind)
		}
		out, err := run(ctx, "smartctl", append(args, d.Path)...)
		if err != nil {
			if ctx.Err() != nil {
				return silent(fmt.Sprintf("smartctl did not answer within %v", smartctlLimit))
			}
			return silent(err.Error())
		}
		if len(out) > maxSmartctl {
			return silent(fmt.Sprintf("%v: %d bytes", errAnswer, len(out)))
		}
		s, err := parseSMART(out, now())
		if err != nil {
			return silent(err.Error())
		}
		if i == 0 || s.Verdict != Silent {
			best = s
		}
		if s.Verdict != Silent || ctx.Err() != nil {
			break
		}
	}
	return best
}
