package gpu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"kith/bench"
	"kith/bench/probe"
)

// queried are the columns asked of nvidia-smi. Those after the first line of names came with later drivers and are left
// out where the tool does not know them.
var (
	queried = []string{
		"index", "uuid", "name", "pci.bus_id", "driver_version", "memory.total", "memory.free", "temperature.gpu", "power.draw", "power.limit",
		"clocks.sm", "clocks.max.sm", "pcie.link.gen.current", "pcie.link.gen.max", "pcie.link.width.current",
	}
	queriedLater = []string{"compute_cap", "mig.mode.current"}
)

// smi asks NVIDIA's tool.
func smi(ctx context.Context) ([]Card, error) {
	tool := smiPath()
	ask := func(columns []string) ([]byte, error) {
		return probe.Run(ctx, probe.Command{Path: tool, Args: []string{"--query-gpu=" + strings.Join(columns, ","), "--format=csv,nounits"}, Limit: listLimit})
	}
	out, err := ask(append(append([]string(nil), queried...), queriedLater...))
	if err != nil && strings.Contains(string(out)+err.Error(), "is not a valid field") {
		out, err = ask(queried)
	}
	if err != nil {
		if words := said(out); words != "" {
			err = fmt.Errorf("%w: %s", err, words)
		}
		return nil, err
	}
	cards, err := parseSMI(string(out))
	if err != nil {
		return nil, err
	}
	for _, c := range cards {
		if c.Split {
			list, err := probe.Run(ctx, probe.Command{Path: tool, Args: []string{"-L"}, Limit: listLimit})
			if err != nil {
				return cards, nil //nolint:nilerr // the whole cards are known, only their parts are not
			}
			return addInstances(cards, string(list)), nil
		}
	}
	return cards, nil
}

// smiPath is the tool's name, or where WSL keeps it.
func smiPath() string {
	const name, wsl = "nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"
	if runtime.GOOS == "linux" {
		if _, err := os.Stat(wsl); err == nil {
			return wsl
		}
	}
	if runtime.GOOS == "windows" {
		if p := filepath.Join(os.Getenv("ProgramFiles"), "NVIDIA Corporation", "NVSMI", name+".exe"); exists(p) {
			return p
		}
	}
	return name
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// said is the first words of a tool that failed.
func said(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return clip(strings.TrimSpace(line))
}

const maxCards = 64

// errTool: the tool did not print the table it was asked for.
var errTool = errors.New("nvidia-smi printed no table")

// parseSMI reads the table that nvidia-smi prints: a line of names, then one line a card. A line about a card that has
// fallen off the bus becomes a card with a problem.
func parseSMI(out string) ([]Card, error) {
	var head []string
	var cards []Card
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line == "" || len(cards) >= maxCards {
			continue
		}
		cells := strings.Split(line, ",")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case strings.HasPrefix(line, "Unable to determine the device handle"):
			cards = append(cards, lost(line, len(cards)))
		case strings.HasPrefix(line, "No devices were found"):
			return nil, fmt.Errorf("nvidia-smi: %s", clip(line))
		case head == nil && cells[0] == "index":
			for _, c := range cells {
				name, _, _ := strings.Cut(c, " [") // "memory.total [MiB]"
				head = append(head, name)
			}
		case head != nil && len(cells) == len(head):
			cards = append(cards, row(head, cells))
		}
	}
	if head == nil && len(cards) == 0 {
		if words := said([]byte(out)); words != "" {
			return nil, fmt.Errorf("%w: %s", errTool, words)
		}
		return nil, errTool
	}
	return cards, nil
}

var busPattern = regexp.MustCompile(`[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]`)

func lost(line string, index int) Card {
	c := unknown()
	c.Index, c.Vendor, c.Model = index, bench.NVIDIA, "NVIDIA card that does not answer"
	c.Bus, c.Problem = busPattern.FindString(line), clip(line)
	return c
}

func row(head, cells []string) Card {
	c := unknown()
	c.Vendor = bench.NVIDIA
	for i, name := range head {
		s := cells[i]
		switch name {
		case "index":
			c.Index = int(whole(s, maxCards))
		case "uuid":
			c.UUID = word(s)
		case "name":
			c.Model = word(s)
		case "pci.bus_id":
			c.Bus = word(s)
		case "driver_version":
			c.Driver = word(s)
		case "compute_cap":
			c.Compute = word(s)
		case "memory.total":
			c.VRAM = mebi(s)
		case "memory.free":
			c.Free = mebi(s)
		case "temperature.gpu":
			c.TempC = decimal(s, 200)
		case "power.draw":
			c.PowerW = decimal(s, 5000)
		case "power.limit":
			c.LimitW = decimal(s, 5000)
		case "clocks.current.sm", "clocks.sm":
			c.ClockMHz = decimal(s, 20000)
		case "clocks.max.sm":
			c.MaxMHz = decimal(s, 20000)
		case "pcie.link.gen.current", "pcie.link.gen.gpucurrent":
			c.PCIeGen = int(whole(s, 16))
		case "pcie.link.gen.max":
			c.PCIeMax = int(whole(s, 16))
		case "pcie.link.width.current":
			c.PCIeWidth = int(whole(s, 64))
		case "mig.mode.current":
			c.Split = s == "Enabled"
		}
	}
	if c.Model == "" {
		c.Model = "NVIDIA card"
	}
	for _, s := range cells {
		if strings.Contains(s, "requires reset") || strings.Contains(s, "GPU is lost") || s == "[Unknown Error]" && c.VRAM < 0 {
			c.Problem = "the driver says: " + clip(strings.Trim(s, "[]"))
		}
	}
	return c
}

// word is a cell that holds text: "" where the tool has none.
func word(s string) string {
	if s == "" || s == "N/A" || strings.HasPrefix(s, "[") || s == "ERR!" {
		return ""
	}
	return clip(s)
}

// decimal reads a number from 0 to most; what is not one is -1.
func decimal(s string, most float64) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > most {
		return -1
	}
	return v
}

func whole(s string, most int64) int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 || v > most {
		return -1
	}
	return v
}

func mebi(s string) int64 {
	v := whole(s, 1<<24)
	if v < 0 {
		return -1
	}
	return v << 20
}

func clip(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

var (
	cardLine     = regexp.MustCompile(`^GPU (\d{1,3}): (.+) \(UUID: (GPU-[^)]+)\)`)
	instanceLine = regexp.MustCompile(`^\s+MIG (\S+)\s+Device\s+(\d{1,3}): \(UUID: (MIG-[^)]+)\)`)
	profileSize  = regexp.MustCompile(`\.(\d{1,4})gb`)
)

// addInstances puts the instances of split cards, as nvidia-smi -L lists them, after their cards.
func addInstances(cards []Card, list string) []Card {
	parts := map[string][]Card{} // by the card's UUID
	owner := ""
	n := 0
	for line := range strings.Lines(list) {
		line = strings.TrimRight(line, "\r\n")
		if m := cardLine.FindStringSubmatch(line); m != nil {
			owner = m[3]
			continue
		}
		if m := instanceLine.FindStringSubmatch(line); m != nil && owner != "" && n < maxCards {
			c := unknown()
			c.Vendor, c.Instance, c.UUID, c.Model = bench.NVIDIA, true, clip(m[3]), "MIG "+clip(m[1])
			c.Index = int(whole(m[2], maxCards))
			if s := profileSize.FindStringSubmatch(m[1]); s != nil {
				c.VRAM = whole(s[1], 1<<12) << 30
			}
			parts[owner] = append(parts[owner], c)
			n++
		}
	}
	var out []Card
	for _, c := range cards {
		out = append(out, c)
		for _, p := range parts[c.UUID] {
			p.Model, p.Driver, p.Compute, p.Bus = c.Model+" "+p.Model, c.Driver, c.Compute, c.Bus
			out = append(out, p)
		}
	}
	return out
}
