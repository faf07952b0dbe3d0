package thermal

import (
	"context"
	"time"

	"kith/bench/probe"
)

// query needs no administrator, unlike the sensors themselves.
const query = "Get-CimInstance -ClassName Win32_PerfFormattedData_Counters_ThermalZoneInformation | Select-Object Name,HighPrecisionTemperature,PercentPassiveLimit | ConvertTo-Json -Compress"

// Read is the Reader of this machine.
func Read(ctx context.Context) (Reading, error) {
	out, err := probe.Run(ctx, probe.Command{Path: "powershell.exe", Args: []string{"-NoProfile", "-NonInteractive", "-Command", query}, Limit: 10 * time.Second})
	if err != nil {
		return Reading{}, err
	}
	return parseZones(out)
}
