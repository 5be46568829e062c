// Whether there is room for one column only: all that one comes for stands in it then.

import { Grid } from "antd";

export const useIsNarrow = (): boolean => Grid.useBreakpoint().md === false;
