package owner

// Caps are ceilings for all tasks together. A zero field sets none, but for VRAM: without it there is none to have.
type Caps struct {
	CPU    float64 `json:"cpu"`   // share of the machine's processors, 0 to 1
	Cores  int     `json:"cores"` // processors' worth of time
	Memory int64   `json:"memoryBytes"`
	VRAM   int64   `json:"vramBytes"`
	IO     int64   `json:"ioBytesPerSecond"`
	Down   int64   `json:"downBytesPerSecond"`
	Up     int64   `json:"upBytesPerSecond"`
}

// Within returns the lesser of both in every field.
func (c Caps) Within(d Caps) Caps {
	return Caps{
		CPU: lesser(c.CPU, d.CPU), Cores: lesser(c.Cores, d.Cores), Memory: lesser(c.Memory, d.Memory), VRAM: lesser(c.VRAM, d.VRAM),
		IO: lesser(c.IO, d.IO), Down: lesser(c.Down, d.Down), Up: lesser(c.Up, d.Up),
	}
}

// lesser is the smaller of two ceilings, of which 0 is none.
func lesser[T int | int64 | float64](a, b T) T {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// Processors is what the caps leave of a machine with so many, in processors' worth of time.
func (c Caps) Processors(machine int) float64 {
	all := float64(machine)
	if c.CPU > 0 {
		all *= min(c.CPU, 1)
	}
	if c.Cores > 0 {
		all = min(all, float64(c.Cores))
	}
	return all
}
