package gpu

import (
	"encoding/json"
	"fmt"
	"strings"

	"kith/bench"
)

// parseProfiler reads what macOS's system_profiler SPDisplaysDataType -json prints. Apple's own processors share the
// machine's memory, which is shared bytes.
func parseProfiler(data []byte, shared int64) ([]Card, error) {
	var out struct {
		Displays []struct {
			Model      string `json:"sppci_model"`
			Name       string `json:"_name"`
			Vendor     string `json:"spdisplays_vendor"`
			VRAM       string `json:"spdisplays_vram"`
			VRAMShared string `json:"spdisplays_vram_shared"`
			Cores      string `json:"sppci_cores"`
		} `json:"SPDisplaysDataType"`
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("system_profiler: %w", err)
	}
	var cards []Card
	for _, d := range out.Displays[:min(len(out.Displays), maxCards)] {
		c := unknown()
		c.Model = clip(orElse(d.Model, d.Name))
		if c.Model == "" {
			continue
		}
		vendor := strings.ToLower(d.Vendor + " " + c.Model)
		switch {
		case strings.Contains(vendor, "apple"):
			c.Vendor, c.Shared, c.VRAM = bench.Apple, true, shared
			if d.Cores != "" {
				c.Model += ", " + clip(d.Cores) + " cores"
			}
		case strings.Contains(vendor, "nvidia"):
			c.Vendor = bench.NVIDIA
		case strings.Contains(vendor, "amd") || strings.Contains(vendor, "ati") || strings.Contains(vendor, "radeon"):
			c.Vendor = bench.AMD
		case strings.Contains(vendor, "intel"):
			c.Vendor = bench.Intel
		default:
			c.Vendor = bench.OtherGP
		}
		switch {
		case c.VRAM >= 0:
		case d.VRAM != "":
			c.VRAM = parseSizeWords(d.VRAM)
		case d.VRAMShared != "":
			c.VRAM, c.Shared = parseSizeWords(d.VRAMShared), true
		}
		cards = append(cards, c)
	}
	return cards, nil
}
