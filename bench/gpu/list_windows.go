package gpu

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/windows/registry"
)

// displayClass is where Windows keeps one key for each display adapter it has a driver for.
const displayClass = `SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}`

// systemCards lists the cards that Windows has drivers for.
func systemCards(context.Context) ([]Card, error) {
	class, err := registry.OpenKey(registry.LOCAL_MACHINE, displayClass, registry.ENUMERATE_SUB_KEYS)
	if err != nil {
		return nil, fmt.Errorf("list the display adapters: %w", err)
	}
	defer class.Close()
	names, err := class.ReadSubKeyNames(maxCards)
	if err != nil && len(names) == 0 {
		return nil, fmt.Errorf("list the display adapters: %w", err)
	}
	var out []Card
	for _, name := range names {
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, displayClass+`\`+name, registry.QUERY_VALUE)
		if err != nil {
			continue // "Properties" is for the system alone
		}
		var a adapter
		a.description, _, _ = k.GetStringValue("DriverDesc") // what is missing stays empty
		a.version, _, _ = k.GetStringValue("DriverVersion")
		a.device, _, _ = k.GetStringValue("MatchingDeviceId")
		if v, _, err := k.GetIntegerValue("HardwareInformation.qwMemorySize"); err == nil {
			a.memory = v
		} else if b, _, err := k.GetBinaryValue("HardwareInformation.qwMemorySize"); err == nil && len(b) == 8 {
			a.memory = binary.LittleEndian.Uint64(b)
		}
		_ = k.Close()
		if c, ok := a.card(); ok {
			out = append(out, c)
		}
	}
	return out, nil
}

// pciVendor reads the vendor out of an id like pci\ven_10de&dev_2684.
func pciVendor(id string) string {
	_, after, ok := strings.Cut(strings.ToLower(id), "ven_")
	if !ok || len(after) < 4 {
		return ""
	}
	return "0x" + after[:4]
}

// adapter is one display adapter as the registry describes it.
type adapter struct {
	description, version, device string
	memory                       uint64
}

func (a adapter) card() (Card, bool) {
	vendor, ok := vendors[pciVendor(a.device)]
	if !ok || a.description == "" {
		return Card{}, false // a virtual display
	}
	c := unknown()
	c.Vendor, c.Model, c.Driver = vendor, clip(a.description), clip(a.version)
	if a.memory > 0 && a.memory < 1<<50 {
		c.VRAM = int64(a.memory)
	}
	return c, true
}
