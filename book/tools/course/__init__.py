"""The course: release the assignments to students, and grade what comes back, offline."""
