package main

import (
	"fmt"
	"io"
)

// pageCmd is "kith page".
type pageCmd struct {
	Open bool `help:"Open it in the browser."`
}

// Run prints an address that works once.
func (c pageCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	address, err := cl.Login(a.ctx)
	if err != nil {
		return err
	}
	if c.Open {
		return openBrowser(address)
	}
	return a.show(map[string]string{"url": address}, func(w io.Writer) { fmt.Fprintln(w, address) })
}
