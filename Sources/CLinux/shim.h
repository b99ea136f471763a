// Prototypes and constants of Linux calls that Swift's Glibc module does not show, because it is
// imported without _GNU_SOURCE. Nothing here for other systems: they declare what they have.
#pragma once

#if defined(__linux__)
// fcntl(2), "Open file description locks": <fcntl.h> under _GNU_SOURCE.
static const int DISKQUEUE_F_OFD_GETLK = 36;
static const int DISKQUEUE_F_OFD_SETLK = 37;
#endif
