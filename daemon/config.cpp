// placeholder, replaced before the first release
