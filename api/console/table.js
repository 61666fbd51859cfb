// A table whose rows change in place. All that it shows is put in as text.
export default {
  template: `
    <div class="table" role="region" tabindex="0" :aria-label="label">
      <table v-if="rows.length">
        <thead>
          <tr><th v-for="column in columns" :key="column.name" scope="col" :class="'c-' + column.kind">{{ column.label }}</th></tr>
        </thead>
        <tbody>
          <tr v-for="row in rows" :key="row.id" :class="row.tone">
            <td v-for="column in columns" :key="column.name" :data-label="column.label"
                :class="['c-' + column.kind, {none: !row[column.name]}]">
              <span v-if="column.kind === 'acts'" class="acts">
                <button v-for="button in buttons.filter((each) => (row.acts || '').split(' ').includes(each.name))"
                        :key="button.name" type="button" :class="['small', {danger: button.danger}]"
                        :aria-label="button.label + ' ' + row.named"
                        @click="$emit('act', {id: String(row.id), act: button.name})">{{ button.label }}</button>
              </span>
              <a v-else-if="row[column.name + '_to']" :href="row[column.name + '_to']"
                 :title="column.kind === 'id' ? row[column.name] : null"><bdi dir="auto">{{ row[column.name] }}</bdi></a>
              <span v-else-if="column.kind === 'state'" :class="'state state-' + row[column.name]">{{ row[column.name] }}</span>
              <span v-else :title="column.kind === 'id' ? row[column.name] : null"><bdi dir="auto">{{ row[column.name] }}</bdi></span>
            </td>
          </tr>
        </tbody>
      </table>
      <p v-else class="note">{{ empty }}</p>
    </div>
  `,
  props: { label: String, empty: String, columns: Array, buttons: Array, rows: Array },
  emits: ["act"],
};
