#pragma once
#include <git2.h>
// `statfs`: on what file system a worktree lies. Swift's Glibc module leaves it out.
#include <sys/vfs.h>
