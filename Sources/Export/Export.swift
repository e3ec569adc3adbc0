// What leaves the house: bundles and reports.
internal import Provenance
