// Kith-gpu asks NVIDIA's management library what cards there are and prints that as JSON. The library needs a C
// toolchain to build against, which kith itself does without: kith runs this program, if it lies beside it, as a child
// with a time limit, so that a driver that crashes takes nothing with it.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"kith/bench/gpu"
	"kith/bench/probe"
)

func main() {
	probe.Orphan()
	cards, err := gpu.Library()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(append([]gpu.Card{}, cards...))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kith-gpu:", err)
		os.Exit(1)
	}
}
