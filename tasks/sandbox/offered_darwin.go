package sandbox

const offered = LayerProfile
