import type { Catalogue } from "../en";
import { basics } from "./basics";
import { fields, units } from "./fields";
import { home } from "./home";
import { hub } from "./hub";
import { jobs } from "./jobs";
import { launch } from "./launch";
import { people } from "./people";
import { playground } from "./playground";
import { shell } from "./shell";

export const zh: Catalogue = {
  ...basics,
  shell,
  home,
  jobs,
  launch,
  hub,
  playground,
  ...people,
  fields,
  units,
};
