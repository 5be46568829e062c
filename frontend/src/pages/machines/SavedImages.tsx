// The images that a person has saved from machines: how large each is, and its end.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button, type TableColumnsType } from "antd";
import { remove } from "../../api/client";
import { machineQueries } from "../../api/machineQueries";
import type { SavedImage } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";

export function SavedImages() {
  const { text, format } = useWords();
  const words = text.machines.saved;
  const { modal } = App.useApp();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const images = useQuery(machineQueries.saved());
  const end = (image: SavedImage) =>
    modal.confirm({
      title: words.removeTitle(image.name),
      content: words.removeText,
      okText: text.machines.remove,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(`/api/saved-images/${image.name}/`);
          await cache.invalidateQueries({ queryKey: ["machines"] });
        }),
    });
  const columns: TableColumnsType<SavedImage> = [
    {
      title: words.col.name,
      key: "name",
      render: (_, image) => (
        <>
          <span className="break">{image.name}</span>
          <div className="muted small">{words.from(image.machine)}</div>
        </>
      ),
    },
    {
      title: words.col.size,
      key: "size",
      render: (_, image) =>
        image.status === "saving" ? (
          words.going
        ) : (
          <span className="num">{format.bytes(image.size_bytes ?? 0)}</span>
        ),
    },
    { title: words.col.node, key: "node", responsive: ["md"], dataIndex: "node" },
    {
      title: words.col.made,
      key: "made",
      responsive: ["sm"],
      render: (_, image) => <RelativeTime iso={image.created_at} />,
    },
    {
      title: <span className="visually-hidden">{text.machines.col.actions}</span>,
      key: "actions",
      render: (_, image) => (
        <Button size="small" loading={isBusy} onClick={() => end(image)}>
          {text.machines.remove}
        </Button>
      ),
    },
  ];
  if (!images.data || images.data.length === 0) return null;
  return (
    <section className="saved-images">
      <h2>{words.title}</h2>
      <p className="muted">{words.text}</p>
      <div className="panel flush">
        <DataTable<SavedImage>
          rowKey="name"
          columns={columns}
          dataSource={images.data}
          pagination={false}
        />
      </div>
    </section>
  );
}
