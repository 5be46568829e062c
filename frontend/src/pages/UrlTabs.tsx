// Tabs whose choice lives in the address; one that a page has not is the first of those it has.

import { Tabs, type TabsProps } from "antd";
import { useUrlState } from "./useUrlState";

interface Props {
  items: NonNullable<TabsProps["items"]>;
  /** Names in the address that only make sense within one tab. */
  forget?: string[];
}

export function UrlTabs({ items, forget = [] }: Props) {
  const [read, write] = useUrlState();
  const first = items[0]?.key ?? "";
  const chosen = items.find(({ key }) => key === read("tab"))?.key ?? first;
  return (
    <Tabs
      activeKey={chosen}
      onChange={(key) =>
        write({
          ...Object.fromEntries(forget.map((name) => [name, ""])),
          tab: key === first ? "" : key,
        })
      }
      destroyOnHidden
      items={items}
    />
  );
}
