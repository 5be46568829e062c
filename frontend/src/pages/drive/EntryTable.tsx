// The things of a folder, or those a search found: sorted, chosen, renamed, each with its actions.

import { Button, Dropdown, Table, type TableProps } from "antd";
import type { DriveEntry } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { MoreOutlined } from "../../widgets/icons";
import { RelativeTime } from "../../widgets/RelativeTime";
import { NameCell } from "./NameCell";

export type EntryAction = "rename" | "move" | "zip" | "unzip" | "download" | "share" | "trash";

interface Props {
  entries: readonly DriveEntry[];
  total: number;
  page: number;
  sort: string;
  isFound: boolean;
  selected: readonly string[];
  renaming: string | null;
  onSelect: (paths: string[]) => void;
  onOpen: (entry: DriveEntry) => void;
  onRename: (entry: DriveEntry, name: string | null) => void;
  onAct: (action: EntryAction, paths: string[]) => void;
  onPage: (page: number, sort: string) => void;
}

// A type, not an interface: the kit wants an index signature.
type ActionItem = {
  key: EntryAction;
  label: string;
  danger: boolean;
};

export function useActionItems(entries: readonly DriveEntry[]): ActionItem[] {
  const { text } = useWords();
  const words = text.drive;
  const [first] = entries;
  const isOne = entries.length === 1;
  const isZip = isOne && first?.kind === "file" && /\.zip$/i.test(first.name);
  const all: [EntryAction, string, boolean][] = [
    ["download", text.download, true],
    ["rename", words.rename, isOne],
    ["move", words.move, true],
    ["zip", words.zip, true],
    ["unzip", words.unzip, isZip],
    ["share", words.share, isOne],
    ["trash", words.toTrash, true],
  ];
  return all
    .filter(([, , isOffered]) => isOffered)
    .map(([key, label]) => ({ key, label, danger: key === "trash" }));
}

function EntryMenu({ entry, onAct }: { entry: DriveEntry; onAct: Props["onAct"] }) {
  const { text } = useWords();
  const items = useActionItems([entry]);
  return (
    <Dropdown
      trigger={["click"]}
      menu={{ items, onClick: ({ key }) => onAct(key as EntryAction, [entry.path]) }}
    >
      <Button
        size="small"
        type="text"
        aria-label={`${text.drive.col.actions}: ${entry.name}`}
        icon={<MoreOutlined />}
      />
    </Dropdown>
  );
}

export function EntryTable(props: Props) {
  const { text, format } = useWords();
  const words = text.drive;
  const { sort, isFound } = props;
  const order = (key: string) =>
    sort === key ? ("ascend" as const) : sort === `-${key}` ? ("descend" as const) : null;
  const onChange: TableProps<DriveEntry>["onChange"] = (pages, _, sorter) => {
    const one = Array.isArray(sorter) ? sorter[0] : sorter;
    const key = one?.order && one.columnKey ? String(one.columnKey) : "name";
    props.onPage(pages.current ?? 1, one?.order === "descend" ? `-${key}` : key);
  };
  return (
    <div className="drive-scroll">
      {/* Not the kit's own scrolling: it would draw the boxes to choose by a second time, hidden. */}
      <Table<DriveEntry>
        rowKey="path"
        size="small"
        dataSource={[...props.entries]}
        onChange={onChange}
        pagination={
          props.total > 100
            ? { current: props.page, pageSize: 100, total: props.total, showSizeChanger: false }
            : false
        }
        rowSelection={{
          selectedRowKeys: [...props.selected],
          onChange: (keys) => props.onSelect(keys.map(String)),
          getCheckboxProps: (entry) => ({ "aria-label": words.select(entry.name) }),
          getTitleCheckboxProps: () => ({ "aria-label": words.selectAll }),
        }}
        locale={{
          emptyText: isFound ? (
            <EmptyState title={words.noMatch} />
          ) : (
            <EmptyState title={words.empty} text={words.emptyText} />
          ),
        }}
        columns={[
          {
            key: "name",
            title: words.col.name,
            sorter: !isFound,
            sortOrder: order("name"),
            render: (_, entry) => (
              <NameCell
                entry={entry}
                isFound={isFound}
                isRenaming={props.renaming === entry.path}
                onOpen={props.onOpen}
                onRename={props.onRename}
              />
            ),
          },
          {
            key: "size",
            title: words.col.size,
            align: "right",
            className: "num nowrap",
            sorter: !isFound,
            sortOrder: order("size"),
            render: (_, entry) => (entry.kind === "file" ? format.bytes(entry.size_bytes) : ""),
          },
          {
            key: "modified",
            title: words.col.modified,
            className: "nowrap",
            responsive: ["md"],
            sorter: !isFound,
            sortOrder: order("modified"),
            render: (_, entry) => <RelativeTime iso={entry.modified_at} />,
          },
          {
            key: "actions",
            align: "right",
            width: 56,
            title: <span className="visually-hidden">{words.col.actions}</span>,
            render: (_, entry) => <EntryMenu entry={entry} onAct={props.onAct} />,
          },
        ]}
      />
    </div>
  );
}
