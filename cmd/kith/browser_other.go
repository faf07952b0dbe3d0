//go:build !linux && !darwin && !windows

package main

import "errors"

func openBrowser(string) error {
	return errors.New("this program does not know how to open a browser here; copy the address")
}
