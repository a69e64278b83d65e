package main

// Needs buf. What is made is not kept in the repository.
//go:generate buf generate ../../proto --path ../../proto/ichat
