package main

import "os/exec"

func openBrowser(address string) error {
	return exec.Command("rundll32", "url.dll,FileProtocolHandler", address).Start()
}
